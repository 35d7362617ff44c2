// Package learn finds out which addresses a guest has from what it sends and
// receives: state machines that are fed with frames and a clock, and know nothing
// of how these come. What teaches is in docs/learning.md; where libvirt does
// otherwise, in COMPATIBILITY.md ("learning").
package learn

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Mode is how addresses are learned, the value of CTRL_IP_LEARNING.
type Mode uint8

// The modes.
const (
	// Any takes the first address that the guest uses or is given.
	Any Mode = iota
	// FromDHCP takes what DHCP servers give.
	FromDHCP
	// None learns nothing.
	None
)

var modes = [...]string{Any: "any", FromDHCP: "dhcp", None: "none"}

func (m Mode) String() string { return modes[m] }

// ParseMode reads a mode, in upper or lower case; "" is Any.
func ParseMode(text string) (Mode, error) {
	for m, name := range modes {
		if strings.EqualFold(text, name) || text == "" {
			return Mode(m), nil
		}
	}
	return Any, fmt.Errorf("%q is no way to learn addresses; expected any, dhcp or none", text)
}

// Config is what is to be learned at a port.
type Config struct {
	// MAC is the guest's address.
	MAC  net.HardwareAddr
	Mode Mode
	// IPv4 and IPv6 are the families of which the policy needs addresses.
	IPv4, IPv6 bool
	// Servers are those whose DHCP replies teach, by the source of the packet: the
	// servers of the link and relay agents. Without any of a family, all of that
	// family do.
	Servers []netip.Addr
	// Taken tells of an address that the guest claims whether it is known to be
	// somebody else's; nil if nobody knows.
	Taken func(netip.Addr) bool
}

// taken is Taken, false if that is nil.
func (c *Config) taken(a netip.Addr) bool { return c.Taken != nil && c.Taken(a) }
