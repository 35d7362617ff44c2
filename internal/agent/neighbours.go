package agent

import (
	"net/netip"
	"slices"

	"tapgate/internal/device"
	"tapgate/internal/policy"
	"tapgate/nwfilter/binding"
)

// neighbour is what a port is to others that learn: no guest may claim an address
// that another one has on the same bridge (RFC 6620 calls it first come, first
// served). Guests on different bridges may have the same addresses.
type neighbour struct {
	bridge int
	// given are the addresses that the port's binding gives its guest.
	given []netip.Addr
}

// meet notes a port as a neighbour.
func (ls *learnerSet) meet(b *binding.Binding, d device.Device) {
	n := neighbour{bridge: d.Bridge}
	for _, p := range b.Parameters {
		if p.Name != policy.IPv4Variable && p.Name != policy.IPv6Variable {
			continue
		}
		if a, err := netip.ParseAddr(p.Value); err == nil {
			n.given = append(n.given, a)
		}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.neighbours[b.Port] = n
}

// taken tells whether an address is that of a port's neighbour, or the host's own on
// the bridge, which may be the guests' gateway. Whoever calls holds the lock.
func (ls *learnerSet) taken(port string, a netip.Addr) bool {
	bridge := ls.neighbours[port].bridge
	if bridge == 0 {
		return false
	}
	for name, n := range ls.neighbours {
		if name == port || n.bridge != bridge {
			continue
		}
		if l := ls.ports[name]; slices.Contains(n.given, a) || l != nil && l.machine.Has(a) {
			return true
		}
	}
	own, err := ls.addresses(bridge)
	return err != nil || slices.Contains(own, a)
}
