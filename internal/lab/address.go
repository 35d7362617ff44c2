package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// WaitAddress returns an address of the guest's NIC as soon as match accepts one that is in use: not
// one that is still being looked for on the link (RFC 4862 section 5.4).
func (g *Guest) WaitAddress(ctx context.Context, match func(netip.Addr) bool) (netip.Addr, error) {
	updates := make(chan netlink.AddrUpdate)
	done := make(chan struct{})
	options := netlink.AddrSubscribeOptions{Namespace: &g.fd, ListExisting: true}
	if err := netlink.AddrSubscribeWithOptions(updates, done, options); err != nil {
		return netip.Addr{}, fmt.Errorf("watch addresses of %s: %w", g.name, err)
	}
	defer func() {
		close(done)
		for range updates { // until the subscription's goroutine has ended
		}
	}()
	link, err := g.links.LinkByName(GuestDevice)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find device %s in namespace %s: %w", GuestDevice, g.name, err)
	}
	for {
		select {
		case update, ok := <-updates:
			if !ok {
				return netip.Addr{}, fmt.Errorf("watch addresses of %s: the subscription ended", g.name)
			}
			address, valid := netip.AddrFromSlice(update.LinkAddress.IP)
			const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
			usable := update.NewAddr && update.LinkIndex == link.Attrs().Index && update.Flags&unusable == 0
			if address = address.Unmap(); valid && usable && match(address) {
				return address, nil
			}
		case <-ctx.Done():
			return netip.Addr{}, fmt.Errorf("wait for an address of %s: %w; it has %v", g.name, ctx.Err(), g.Addresses())
		}
	}
}

// Addresses are those of the guest's NIC, in use or not.
func (g *Guest) Addresses() []netip.Addr {
	link, err := g.links.LinkByName(GuestDevice)
	if err != nil {
		return nil
	}
	list, err := g.links.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, a := range list {
		if address, ok := netip.AddrFromSlice(a.IP); ok {
			all = append(all, address.Unmap())
		}
	}
	return all
}

// ForgetAddresses takes the IPv4 addresses off the guest's NIC, as after a boot.
func (g *Guest) ForgetAddresses() error {
	link, err := g.links.LinkByName(GuestDevice)
	if err != nil {
		return fmt.Errorf("find device %s in namespace %s: %w", GuestDevice, g.name, err)
	}
	for {
		// One at a time, since the others of its subnet may go with it.
		list, err := g.links.AddrList(link, netlink.FAMILY_V4)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := g.links.AddrDel(link, &list[0]); err != nil {
			return fmt.Errorf("remove address %s from %s: %w", list[0].IP, g.name, err)
		}
	}
}

// AddAddress gives the guest's NIC one more address.
func (g *Guest) AddAddress(address netip.Prefix) error { return g.addAddress(GuestDevice, address) }

// RemoveAddress takes an address off the guest's NIC.
func (g *Guest) RemoveAddress(address netip.Prefix) error {
	link, err := g.links.LinkByName(GuestDevice)
	if err != nil {
		return fmt.Errorf("find device %s in namespace %s: %w", GuestDevice, g.name, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}}
	if err := g.links.AddrDel(link, addr); err != nil {
		return fmt.Errorf("remove address %s from %s: %w", address, g.name, err)
	}
	return nil
}

// AddRoute tells the guest that a prefix is on its link.
func (g *Guest) AddRoute(prefix netip.Prefix) error {
	link, err := g.links.LinkByName(GuestDevice)
	if err != nil {
		return fmt.Errorf("find device %s in namespace %s: %w", GuestDevice, g.name, err)
	}
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())},
	}
	if err := g.links.RouteAdd(route); err != nil {
		return fmt.Errorf("add route %s to %s: %w", prefix, g.name, err)
	}
	return nil
}
