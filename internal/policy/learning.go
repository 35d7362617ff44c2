package policy

import (
	"embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"tapgate/internal/learn"
	"tapgate/nwfilter"
)

// LearningParameter is the binding parameter that chooses how missing addresses are
// learned: any, dhcp or none.
const LearningParameter = "CTRL_IP_LEARNING"

// The variables that can be learned.
const (
	IPv4Variable = "IP"
	IPv6Variable = "IPV6"
)

// Learning tells of a policy that depends on addresses which the binding does not
// give.
type Learning struct {
	Config learn.Config
	// Waiting are the variables without any address yet, of Wants.
	Wants, Waiting []string
	// Restricted is set as long as no address of either family is known: nothing
	// passes but what teaches.
	Restricted bool
	// Offered is set while the IPv4 address is merely offered to the guest.
	Offered bool
}

// ResolveLearning is Resolve where the binding need not give the guest's addresses:
// what it lacks is taken from leases. As long as there is none of a family, that
// family is restricted to what teaches, and if no family has any, everything is
// (spec/address-learning.md, sections 2 and 5).
func ResolveLearning(name string, mac net.HardwareAddr, params []nwfilter.Parameter, leases []learn.Lease, lookup func(string) *nwfilter.Filter) (*Policy, error) {
	env := makeValues(params)
	p, err := resolveWith(name, mac, env, false, lookup)
	var missing *MissingError
	if !errors.As(err, &missing) || !missing.Addresses {
		return p, err
	}
	l := &Learning{Config: learn.Config{MAC: mac, Servers: servers(params)}, Wants: missing.names()}
	if l.Config.Mode, err = learn.ParseMode(first(env[LearningParameter])); err != nil {
		return nil, err
	}
	l.Config.IPv4, l.Config.IPv6 = slices.Contains(l.Wants, IPv4Variable), slices.Contains(l.Wants, IPv6Variable)
	leases = learn.New(l.Config, leases, nil).Leases() // those that count in the mode
	l.Offered = l.Config.IPv4 && learn.Offered(leases)
	// What the binding gives is known.
	known := len(env[IPv4Variable])+len(env[IPv6Variable]) > 0
	for _, variable := range l.Wants {
		env[variable] = nil
		for _, a := range learn.Addresses(leases, variable == IPv6Variable) {
			env[variable] = append(env[variable], addressText(a))
		}
		if len(env[variable]) > 0 {
			known = true
			continue
		}
		l.Waiting = append(l.Waiting, variable)
		env[variable] = []string{nobody[variable]}
	}
	if l.Config.Mode == learn.None && len(l.Waiting) > 0 {
		return nil, missing
	}
	full, err := resolveWith(name, mac, env, true, lookup)
	if err != nil {
		return nil, err // whatever is learned would not help
	}
	l.Restricted = !known
	p = full
	if len(l.Waiting) > 0 || l.Offered {
		if p, err = l.restrict(full); err != nil {
			return nil, err
		}
	}
	p.Learning = l
	p.Observe = learn.Observes(l.Config, leases)
	return p, nil
}

// nobody are addresses that no guest has (RFC 1112 section 4, RFC 6666). They stand in
// the full policy for those that are not known; packets of that family do not get
// to its rules.
var nobody = map[string]string{IPv4Variable: "240.0.0.0", IPv6Variable: "100::"}

func addressText(a netip.Prefix) string {
	if a.IsSingleIP() {
		return a.Addr().String()
	}
	return a.String()
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// servers are the addresses of trusted DHCP servers of both families.
func servers(params []nwfilter.Parameter) []netip.Addr {
	var list []netip.Addr
	for _, p := range params {
		if p.Name != "DHCPSERVER" && p.Name != "DHCPSERVERV6" {
			continue
		}
		if a, err := netip.ParseAddr(p.Value); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// restrict puts what a guest may do that has not all its addresses in front of the
// full policy, or in its place if nothing is known.
func (l *Learning) restrict(full *Policy) (*Policy, error) {
	env := values{"MAC": {l.Config.MAC.String()}}
	for _, a := range l.Config.Servers {
		name := "DHCPSERVER"
		if a.Is6() {
			name = "DHCPSERVERV6"
		}
		env[name] = append(env[name], a.String())
	}
	p := &Policy{Filter: full.Filter, MAC: full.MAC}
	b := builder{policy: p}
	var rules []flatRule
	for _, name := range l.restrictions(env) {
		w := flattener{noted: map[nwfilter.Variable]bool{}, learned: true}
		if err := w.walk(restrictions()[name], env, []string{full.Filter, name}); err != nil {
			return nil, err
		}
		rules = append(rules, w.rules...)
	}
	if err := b.build(rules); err != nil {
		return nil, err
	}
	if !l.Restricted {
		for _, d := range Directions {
			p.Link[d].Items = append(p.Link[d].Items, full.Link[d].Items...)
			p.Network[d].Items = append(p.Network[d].Items, full.Network[d].Items...)
		}
	}
	p.number()
	return p, nil
}

// restrictions are the names of the filters that restrict, in their order.
func (l *Learning) restrictions(env values) []string {
	var allowed, refused []string
	dhcp, dhcpv6 := "learning-dhcp", "learning-dhcpv6"
	if env["DHCPSERVER"] != nil {
		dhcp += "-server"
	}
	if env["DHCPSERVERV6"] != nil {
		dhcpv6 += "-server"
	}
	if l.Offered {
		allowed = append(allowed, dhcp)
	}
	if slices.Contains(l.Waiting, IPv4Variable) {
		allowed, refused = append(allowed, dhcp), append(refused, "learning-no-ipv4")
		if l.Config.Mode == learn.Any {
			allowed = append(allowed, "learning-arp")
		}
	}
	if slices.Contains(l.Waiting, IPv6Variable) {
		allowed, refused = append(allowed, "learning-nd", dhcpv6), append(refused, "learning-no-ipv6")
	}
	if l.Restricted {
		refused = []string{"learning-nothing"}
	}
	return append(allowed, refused...)
}

//go:embed learning/*.xml
var restrictionFiles embed.FS

// restrictions are the filters by name. They are part of the program, so a fault in
// one is a fault of the program.
var restrictions = sync.OnceValue(func() map[string]*nwfilter.Filter {
	files, err := restrictionFiles.ReadDir("learning")
	if err != nil {
		panic(err)
	}
	filters := map[string]*nwfilter.Filter{}
	for _, file := range files {
		text, err := restrictionFiles.ReadFile("learning/" + file.Name())
		if err != nil {
			panic(err)
		}
		name := "learning-" + strings.TrimSuffix(file.Name(), ".xml")
		f, diagnostics := nwfilter.Parse(text, name+" (built in)", nwfilter.Options{})
		if f == nil || f.Name != name {
			panic(fmt.Sprintf("%s: %v", name, diagnostics))
		}
		filters[name] = f
	}
	return filters
})
