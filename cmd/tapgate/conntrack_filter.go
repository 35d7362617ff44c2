package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath"
)

// connectionFilter chooses connections by flags.
type connectionFilter struct {
	proto, state, address, direction string
	port                             uint16

	protocol uint8
	prefix   netip.Prefix
	hasState func(*conntrack.Connection) bool
}

func (f *connectionFilter) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.proto, "proto", "", "only of this `protocol`: tcp, udp, icmp … or its number")
	flags.StringVar(&f.state, "state", "", "only in this `state`: new, replied, assured, related, or one of TCP's or SCTP's, such as SYN_SENT")
	flags.StringVar(&f.address, "address", "", "only with an end at this `address`, or in such a network: 10.0.0.0/8")
	flags.Uint16Var(&f.port, "port", 0, "only with the L4 port `N` at either end")
	flags.StringVar(&f.direction, "direction", "", "only those that the guest opened (out) or was called by (in), as `in|out`")
	for name, values := range map[string][]string{
		"proto": protocolNames(), "state": stateNames(), "direction": {"in", "out"}, "address": nil, "port": nil,
	} {
		must(c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
	}
}

// parse reads the flags, which must be done once before matches is asked.
func (f *connectionFilter) parse() error {
	if f.proto != "" {
		i := slices.IndexFunc(allProtocols(), func(proto uint8) bool {
			return conntrack.ProtoName(proto) == strings.ToLower(f.proto) || strconv.Itoa(int(proto)) == f.proto
		})
		if i < 0 {
			return usagef("--proto %q is no protocol: expected %s or a number up to 255", f.proto, strings.Join(protocolNames(), ", "))
		}
		f.protocol = uint8(i)
	}
	if f.state != "" {
		if f.hasState = stateOf(f.state); f.hasState == nil {
			return usagef("--state %q is no state: expected %s", f.state, strings.Join(stateNames(), ", "))
		}
	}
	if f.address != "" {
		prefix, err := netip.ParsePrefix(f.address)
		if err != nil {
			address, err := netip.ParseAddr(f.address)
			if err != nil || address.Zone() != "" {
				return usagef("--address %q: expected an address such as 10.0.0.5 or fd00::5, or a network such as 10.0.0.0/8", f.address)
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		f.prefix = prefix.Masked()
	}
	if f.direction != "" && f.direction != "in" && f.direction != "out" {
		return usagef("--direction %q: expected in or out", f.direction)
	}
	return nil
}

func (f *connectionFilter) matches(c *datapath.Connection) bool {
	from, to := c.Originator(), c.Responder()
	switch {
	case f.hasState != nil && !f.hasState(&c.Connection),
		f.port != 0 && !c.HasPorts(),
		f.direction != "" && f.direction != directionName(c.Out):
		return false
	}
	return f.matchesEnds(c.Proto, from.Addr(), to.Addr(), from.Port(), to.Port())
}

func (f *connectionFilter) matchesExpected(e *datapath.Expectation) bool {
	return f.matchesEnds(e.Proto, e.From, e.To.Addr(), 0, e.To.Port())
}

func (f *connectionFilter) matchesEnds(proto uint8, from, to netip.Addr, fromPort, toPort uint16) bool {
	return (f.proto == "" || proto == f.protocol) &&
		(f.address == "" || f.prefix.Contains(from) || f.prefix.Contains(to)) &&
		(f.port == 0 || fromPort == f.port || toPort == f.port)
}

func allProtocols() []uint8 {
	all := make([]uint8, 256)
	for i := range all {
		all[i] = uint8(i)
	}
	return all
}

// protocolNames are those that have a name.
func protocolNames() (names []string) {
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

func stateNames() (names []string) {
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
	i := slices.IndexFunc(stateNames(), func(known string) bool { return strings.EqualFold(known, name) })
	switch {
	case i < 0:
		return nil
	case i < len(wordsOfStates):
		return wordsOfStates[i].is
	}
	return func(c *conntrack.Connection) bool { return strings.EqualFold(c.ProtoState(), name) }
}
