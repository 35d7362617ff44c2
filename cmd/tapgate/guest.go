package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/eval"
	"tapgate/internal/learn"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
)

// guestFlags describe the guest for which a filter is worked out.
type guestFlags struct {
	mac    string
	params []string
}

func (g *guestFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&g.mac, "mac", "", "the guest's MAC `address`: the variable $MAC")
	c.Flags().StringArrayVar(&g.params, "param", nil, "value of a variable, as `NAME=VALUE`; several by commas or by repeating the flag")
	must(c.RegisterFlagCompletionFunc("mac", cobra.NoFileCompletions))
	must(c.RegisterFlagCompletionFunc("param", completeParameter))
}

// address reads --mac; nil if it was not given.
func (g *guestFlags) address() (net.HardwareAddr, error) {
	if g.mac == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(g.mac)
	switch {
	case err != nil || len(mac) != 6:
		return nil, usagef("--mac %q is no MAC address: expected six groups such as 52:54:00:00:00:01", g.mac)
	case mac[0]&1 != 0:
		return nil, usagef("--mac %q is a multicast address, which no guest can have", g.mac)
	}
	return mac, nil
}

const (
	nameCharacters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	valueCharacters = nameCharacters + ".:"
)

// parameters reads --param.
func (g *guestFlags) parameters() ([]nwfilter.Parameter, error) {
	var list []nwfilter.Parameter
	for _, text := range g.params {
		name, values, ok := strings.Cut(text, "=")
		if !ok || name == "" || strings.Trim(name, nameCharacters) != "" {
			return nil, usagef("--param %q: expected NAME=VALUE, the name made of letters, digits and underscores", text)
		}
		for value := range strings.SplitSeq(values, ",") {
			if value == "" || strings.Trim(value, valueCharacters) != "" {
				return nil, usagef("--param %q: a value is made of letters, digits, \"_\", \".\" and \":\", and %q is not", text, value)
			}
			list = append(list, nwfilter.Parameter{Name: name, Value: value})
		}
	}
	if _, err := settings.Resolve(nil, list); err != nil {
		return nil, usagef("--param: %w", err)
	}
	return list, nil
}

// settings are those of a port that is bound with the parameters.
func (g *guestFlags) settings(r *resolver) (settings.Values, error) {
	set, err := r.ask.Settings(r.ctx, "")
	if err != nil {
		return nil, err
	}
	host := settings.Given{}
	for _, s := range set {
		if s.From == string(settings.ByHost) {
			host[s.Name] = strings.Split(s.Value, ",")
		}
	}
	params, err := g.parameters()
	if err != nil {
		return nil, err
	}
	return settings.Resolve(host, params)
}

// completeParameter completes a variable that the built-in filters know, or a
// setting.
func completeParameter(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{"IP=", "IPV6=", "DHCPSERVER=", "GATEWAY_MAC="}
	for _, s := range settings.All() {
		names = append(names, s.Name+"=\t"+s.About)
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// placeholderMAC stands for the guest where nothing depends on its address.
var placeholderMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

// resolveLearning is resolve for a guest whose addresses are learned as far as they
// are not given; the learner is nil if they are.
func (g *guestFlags) resolveLearning(r *resolver, name string) (*policy.Policy, *eval.Learner, error) {
	mac, err := g.address()
	if err == nil && mac == nil {
		p, err := g.resolve(r, name)
		return p, nil, err
	}
	params, err2 := g.parameters()
	if err := errors.Join(err, err2); err != nil {
		return nil, nil, err
	}
	resolve := func(leases []learn.Lease) (*policy.Policy, error) {
		p, err := policy.ResolveLearning(name, mac, params, leases, r.lookup)
		if err != nil && r.fault != nil {
			return nil, r.fault
		}
		return p, err
	}
	p, err := resolve(nil)
	if err != nil {
		return nil, nil, err
	}
	return p, eval.NewLearner(p, resolve), nil
}

// resolve works a filter out for the guest. Without --mac it succeeds only if
// the filter does not ask for it.
func (g *guestFlags) resolve(r *resolver, name string) (*policy.Policy, error) {
	mac, err := g.address()
	if err != nil {
		return nil, err
	}
	params, err := g.parameters()
	if err != nil {
		return nil, err
	}
	if mac != nil {
		return r.policy(name, mac, params)
	}
	p, err := r.policy(name, placeholderMAC, params)
	if err != nil {
		return nil, err
	}
	for _, c := range p.Clauses {
		for _, v := range c.Origin.Values {
			if v == "MAC="+placeholderMAC.String() {
				return nil, fmt.Errorf("%s: $MAC has no value; give the guest's address with --mac", c.Origin)
			}
		}
	}
	return p, nil
}
