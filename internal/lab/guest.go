package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// GuestConfig says how a guest with a network stack of its own looks.
type GuestConfig struct {
	// Name of the guest, at most 14 characters; its port is called Name with a 0 at the end.
	Name string
	MAC  net.HardwareAddr
	// IPv4 and IPv6 are the addresses of its eth0. The zero value means none.
	IPv4, IPv6 netip.Prefix
}

// Guest is a namespace that stands for a virtual machine: eth0 inside, Port on the host.
type Guest struct {
	*Namespace
	// Port is the name of the device in the host namespace.
	Port string
	MAC  net.HardwareAddr
	IPv4 netip.Addr
	IPv6 netip.Addr
}

// GuestDevice is the name of the NIC inside every guest.
const GuestDevice = "eth0"

// AddGuest adds a namespace that is connected to the bridge and returns when frames pass.
func (l *Lab) AddGuest(ctx context.Context, config GuestConfig) (*Guest, error) {
	ns, err := newNamespace(config.Name)
	if err != nil {
		return nil, err
	}
	guest := &Guest{
		Namespace: ns,
		Port:      config.Name + "0",
		MAC:       config.MAC,
		IPv4:      config.IPv4.Addr(),
		IPv6:      config.IPv6.Addr(),
	}
	if err := l.own(guest); err != nil {
		ns.close()
		return nil, err
	}
	if err := l.connect(ctx, guest, config); err != nil {
		return nil, fmt.Errorf("add guest %s: %w", config.Name, err)
	}
	return guest, nil
}

// connect lays the cable between the guest and the bridge. What it leaves behind when it fails
// goes with the lab.
func (l *Lab) connect(ctx context.Context, guest *Guest, config GuestConfig) error {
	// Frames of its own accord (router solicitations, DAD) would only disturb tests. The kernel
	// takes the larger one of all and default.
	quiet := []string{"default/accept_dad", "all/accept_dad", "default/router_solicitations", "default/accept_ra"}
	for _, name := range quiet {
		if err := guest.setSysctl("ipv6/conf/"+name, "0"); err != nil {
			return err
		}
	}
	cable := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: guest.Port},
		PeerName:         GuestDevice,
		PeerHardwareAddr: config.MAC,
		PeerNamespace:    netlink.NsFd(guest.fd),
	}
	if err := l.Host.links.LinkAdd(cable); err != nil {
		return fmt.Errorf("add device pair %s: %w", guest.Port, err)
	}
	for _, address := range []netip.Prefix{config.IPv4, config.IPv6} {
		if !address.IsValid() {
			continue
		}
		if err := guest.addAddress(GuestDevice, address); err != nil {
			return err
		}
	}
	if err := guest.SetChecksumOffload(GuestDevice, false); err != nil {
		return err
	}
	if err := guest.setUp(GuestDevice); err != nil {
		return err
	}
	if err := l.plug(guest.Port); err != nil {
		return err
	}
	if err := l.Host.waitRunning(ctx, guest.Port); err != nil {
		return err
	}
	return guest.waitRunning(ctx, GuestDevice)
}

// At gives the IPv4 address of the guest with an L4 port.
func (g *Guest) At(port uint16) netip.AddrPort { return netip.AddrPortFrom(g.IPv4, port) }

// At6 gives the IPv6 address of the guest with an L4 port.
func (g *Guest) At6(port uint16) netip.AddrPort { return netip.AddrPortFrom(g.IPv6, port) }
