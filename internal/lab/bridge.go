package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bridge is the name of the bridge in the host namespace.
const Bridge = "br0"

// bridgeMAC is fixed, or the bridge would take the lowest address of its ports, a new one with
// every port.
var bridgeMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0xfe}

// newHost makes the host namespace with its bridge. The host speaks no IPv6 and has no address, so
// that every frame on a port comes from a guest; see AddHostAddress.
func newHost() (*Namespace, error) {
	host, err := newNamespace("host")
	if err != nil {
		return nil, err
	}
	if err := setUpHost(host); err != nil {
		host.close()
		return nil, err
	}
	return host, nil
}

func setUpHost(host *Namespace) error {
	if err := host.setSysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil {
		return fmt.Errorf("switch IPv6 off in the host namespace: %w", err)
	}
	if err := host.unhookBridge(); err != nil {
		return err
	}
	snooping := false // neighbour discovery must not depend on what MLD snooping learned
	bridge := &netlink.Bridge{
		LinkAttrs:         netlink.LinkAttrs{Name: Bridge, HardwareAddr: bridgeMAC},
		MulticastSnooping: &snooping,
	}
	if err := host.links.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %s: %w", Bridge, err)
	}
	return host.setUp(Bridge)
}

// unhookBridge keeps bridged frames away from the IP filters of the host namespace. Where the
// br_netfilter module is loaded (Docker does), they pass by them in every new namespace, and that
// alone trims padding and drops what is no correct IP packet.
func (ns *Namespace) unhookBridge() error {
	for _, table := range []string{"iptables", "ip6tables", "arptables"} {
		err := ns.setSysctl("bridge/bridge-nf-call-"+table, "0")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep bridged frames away from %s: %w", table, err)
		}
	}
	return nil
}

// plug makes a device of the host namespace a port of the bridge.
func (l *Lab) plug(device string) error {
	bridge, err := l.Host.links.LinkByName(Bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", Bridge, err)
	}
	port, err := l.Host.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", device, err)
	}
	if err := l.Host.links.LinkSetMaster(port, bridge); err != nil {
		return fmt.Errorf("make %s a port of bridge %s: %w", device, Bridge, err)
	}
	return l.Host.setUp(device)
}

// AddHostAddress gives the bridge an address, so that the host itself talks to the guests.
func (l *Lab) AddHostAddress(address netip.Prefix) error {
	if address.Addr().Is6() {
		if err := l.Host.setSysctl("ipv6/conf/"+Bridge+"/disable_ipv6", "0"); err != nil {
			return fmt.Errorf("switch IPv6 on for bridge %s: %w", Bridge, err)
		}
	}
	return l.Host.addAddress(Bridge, address)
}

// addAddress gives a device an address that can be used at once: nobody else has it, so there is
// nothing to detect.
func (ns *Namespace) addAddress(device string, address netip.Prefix) error {
	link, err := ns.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find device %s in namespace %s: %w", device, ns.name, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP:   address.Addr().AsSlice(),
		Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen()),
	}}
	if address.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := ns.links.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add address %s to device %s in namespace %s: %w", address, device, ns.name, err)
	}
	return nil
}
