package datapath

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tapgate/internal/conntrack"
)

// ConnectionFilter chooses connections by what people write. Everything that is set
// must hold; the zero value chooses all.
type ConnectionFilter struct {
	// Proto is the name of a protocol or its number.
	Proto string
	// State is new, replied, assured, related, or a state of TCP or SCTP, in any case.
	State string
	// Address of either end, or the network that it is in.
	Address string
	// Port is the L4 port of either end, 0 any.
	Port uint16
	// Direction is "out" for those that the guest opened, "in" for the others.
	Direction string
}

// FilterError says that a part of a ConnectionFilter cannot be understood.
type FilterError struct{ Part, Fault string }

func (e *FilterError) Error() string { return e.Part + " " + e.Fault }

// Chosen tells whether connections and expectations are among those that a filter
// chooses.
type Chosen struct {
	filter   ConnectionFilter
	protocol uint8
	prefix   netip.Prefix
	hasState func(*conntrack.Connection) bool
}

// Choose reads the filter. It fails with *FilterError.
func (f ConnectionFilter) Choose() (*Chosen, error) {
	c := &Chosen{filter: f}
	if f.Proto != "" {
		i := slices.IndexFunc(allProtocols(), func(proto uint8) bool {
			return conntrack.ProtoName(proto) == strings.ToLower(f.Proto) || strconv.Itoa(int(proto)) == f.Proto
		})
		if i < 0 {
			return nil, &FilterError{"proto", fmt.Sprintf("%q is no protocol: expected %s or a number up to 255", f.Proto, strings.Join(ProtocolNames(), ", "))}
		}
		c.protocol = uint8(i)
	}
	if f.State != "" {
		if c.hasState = stateOf(f.State); c.hasState == nil {
			return nil, &FilterError{"state", fmt.Sprintf("%q is no state: expected %s", f.State, strings.Join(StateNames(), ", "))}
		}
	}
	if f.Address != "" {
		prefix, err := netip.ParsePrefix(f.Address)
		if err != nil {
			address, err := netip.ParseAddr(f.Address)
			if err != nil || address.Zone() != "" {
				return nil, &FilterError{"address", fmt.Sprintf("%q: expected an address such as 10.0.0.5 or fd00::5, or a network such as 10.0.0.0/8", f.Address)}
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		c.prefix = prefix.Masked()
	}
	if f.Direction != "" && f.Direction != "in" && f.Direction != "out" {
		return nil, &FilterError{"direction", fmt.Sprintf("%q: expected in or out", f.Direction)}
	}
	return c, nil
}

// Connection tells whether one is chosen.
func (c *Chosen) Connection(one *Connection) bool {
	from, to := one.Originator(), one.Responder()
	switch {
	case c.hasState != nil && !c.hasState(&one.Connection),
		c.filter.Port != 0 && !one.HasPorts(),
		c.filter.Direction != "" && c.filter.Direction != directionName(one.Out):
		return false
	}
	return c.ends(one.Proto, from.Addr(), to.Addr(), from.Port(), to.Port())
}

// Expectation tells whether one is chosen, by protocol, address and port.
func (c *Chosen) Expectation(e *Expectation) bool {
	return c.ends(e.Proto, e.From, e.To.Addr(), 0, e.To.Port())
}

func (c *Chosen) ends(proto uint8, from, to netip.Addr, fromPort, toPort uint16) bool {
	f := &c.filter
	return (f.Proto == "" || proto == c.protocol) &&
		(f.Address == "" || c.prefix.Contains(from) || c.prefix.Contains(to)) &&
		(f.Port == 0 || fromPort == f.Port || toPort == f.Port)
}

func directionName(out bool) string {
	if out {
		return "out"
	}
	return "in"
}

func allProtocols() []uint8 {
	all := make([]uint8, 256)
	for i := range all {
		all[i] = uint8(i)
	}
	return all
}

// ProtocolNames are those of the protocols that have one.
func ProtocolNames() (names []string) {
	for _, proto := range allProtocols() {
		if name := conntrack.ProtoName(proto); !strings.HasPrefix(name, "proto-") {
			names = append(names, name)
		}
	}
	return names
}

// wordsOfStates are the states that every protocol's connections have.
var wordsOfStates = []struct {
	name string
	is   func(*conntrack.Connection) bool
}{
	{"new", func(c *conntrack.Connection) bool { return !c.SeenReply && !c.Expected }},
	{"replied", func(c *conntrack.Connection) bool { return c.SeenReply }},
	{"assured", func(c *conntrack.Connection) bool { return c.Assured }},
	{"related", func(c *conntrack.Connection) bool { return c.Expected }},
}

// StateNames are what a connection's state may be called.
func StateNames() (names []string) {
	for _, word := range wordsOfStates {
		names = append(names, word.name)
	}
	for _, name := range slices.Concat(conntrack.TCPStates(), conntrack.SCTPStates()) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// stateOf tells a state by its name, in any case; nil if there is none.
func stateOf(name string) func(*conntrack.Connection) bool {
	i := slices.IndexFunc(StateNames(), func(known string) bool { return strings.EqualFold(known, name) })
	switch {
	case i < 0:
		return nil
	case i < len(wordsOfStates):
		return wordsOfStates[i].is
	}
	return func(c *conntrack.Connection) bool { return strings.EqualFold(c.ProtoState(), name) }
}
