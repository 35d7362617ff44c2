package policy

import (
	"cmp"
	"net"
	"slices"

	"tapgate/internal/learn"
	"tapgate/nwfilter"
)

// SettingPrefix begins the names of the binding's parameters that are settings
// of the port. No rule can use them.
const SettingPrefix = "CTRL_"

// Resolve works out the filter that lookup knows as name, for a guest with
// this MAC address and these parameters. lookup returns nil for a name it does
// not know. Errors are *Error and *MissingError.
func Resolve(name string, mac net.HardwareAddr, params []nwfilter.Parameter, lookup func(string) *nwfilter.Filter) (*Policy, error) {
	return resolveWith(name, mac, makeValues(params), false, lookup)
}

func resolveWith(name string, mac net.HardwareAddr, env values, learned bool, lookup func(string) *nwfilter.Filter) (*Policy, error) {
	top := lookup(name)
	if top == nil {
		return nil, &Error{Message: "filter \"" + name + "\" is not defined", Hint: "\"tapgate filter list\" shows what is"}
	}
	if _, given := env["MAC"]; !given {
		env["MAC"] = []string{mac.String()}
	}
	w := flattener{lookup: lookup, noted: map[nwfilter.Variable]bool{}, learned: learned}
	if err := w.walk(top, env, []string{name}); err != nil {
		return nil, err
	}
	if len(w.missing) > 0 {
		return nil, missingError(w.missing, env)
	}
	rules := order(w.rules)
	p := &Policy{Filter: name, MAC: mac}
	b := builder{policy: p}
	if err := b.build(rules); err != nil {
		return nil, err
	}
	p.number()
	return p, nil
}

// missingError tells what is missing. It can be learned if it is nothing but the
// guest's addresses, asked for as whole lists.
func missingError(uses []MissingUse, env values) error {
	err := &MissingError{Uses: uses}
	for _, u := range uses {
		if name := u.Variable.String(); name != IPv4Variable && name != IPv6Variable {
			return err
		}
	}
	mode, fault := learn.ParseMode(first(env[LearningParameter]))
	if fault != nil {
		return &Error{Message: LearningParameter + ": " + fault.Error()}
	}
	err.Addresses, err.Learnable = true, mode != learn.None
	return err
}

// order sorts rules as libvirt does: those of root filters first, then by
// priority; equal ones keep the order of the walk.
func order(rules []flatRule) []flatRule {
	slices.SortStableFunc(rules, func(a, b flatRule) int {
		aSub, bSub := a.filter.Chain != nwfilter.RootChain, b.filter.Chain != nwfilter.RootChain
		switch {
		case aSub && !bSub:
			return 1
		case bSub && !aSub:
			return -1
		}
		return cmp.Compare(a.rule.Priority, b.rule.Priority)
	})
	return rules
}

// number gives the clauses their IDs in the order in which lists are shown,
// and sums up the facts.
func (p *Policy) number() {
	for _, d := range Directions {
		for _, l := range []*List{p.Link[d], p.Network[d]} {
			for c := range l.All {
				c.ID = len(p.Clauses)
				p.Clauses = append(p.Clauses, c)
				p.Facts.add(c, l.Stage)
			}
		}
	}
	if p.Facts.Tracked() {
		p.names = p.nameClauses() // asked for more than once
	}
	p.numberLimits()
	p.Fingerprint = p.fingerprint()
}
