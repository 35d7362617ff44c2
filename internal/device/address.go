package device

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Addresses are the host's own ones on a device, of IPv4 and IPv6; none for a device
// that is not there.
func Addresses(index int) ([]netip.Addr, error) {
	dummy := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}
	list, err := netlink.AddrList(dummy, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of device %d: %w", index, err)
	}
	var addresses []netip.Addr
	for _, a := range list {
		if address, ok := netip.AddrFromSlice(a.IP); ok {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses, nil
}
