package agent

import (
	"errors"
	"fmt"
	"slices"

	"tapgate/internal/learn"
	"tapgate/internal/policy"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// asks is what a binding leaves to be learned.
type asks struct {
	ipv4, ipv6 bool
	mode       learn.Mode
	// fault is why that cannot be found out.
	fault error
}

// wants tells whether addresses of a family are of use.
func (a *asks) wants(is4 bool) bool { return is4 && a.ipv4 || !is4 && a.ipv6 }

// asker finds out what bindings leave to be learned. Ports are many and their
// filters few, so that it remembers.
type asker struct {
	view  *store.View
	known map[string]asks
}

func newAsker(v *store.View) *asker { return &asker{v, map[string]asks{}} }

// gives tells whether a binding has a parameter.
func gives(b *binding.Binding, name string) bool {
	return slices.ContainsFunc(b.Parameters, func(p nwfilter.Parameter) bool { return p.Name == name })
}

func (a *asker) of(b *binding.Binding) asks {
	// Only the number of values makes a difference to what is asked for.
	id := fmt.Sprintf("%q %t", b.Filter, b.MAC == nil)
	for _, p := range b.Parameters {
		id += fmt.Sprintf(" %q", p.Name)
		if p.Name == policy.LearningParameter {
			id += fmt.Sprintf("=%q", p.Value)
		}
	}
	known, ok := a.known[id]
	if !ok {
		known = a.find(b)
		a.known[id] = known
	}
	return known
}

func (a *asker) find(b *binding.Binding) (found asks) {
	mode := ""
	for _, p := range slices.Backward(b.Parameters) {
		if p.Name == policy.LearningParameter {
			mode = p.Value // the first one counts
		}
	}
	if found.mode, found.fault = learn.ParseMode(mode); found.fault != nil {
		return found
	}
	mac := b.MAC
	if mac == nil {
		mac = placeholderMAC
	}
	_, err := policy.Resolve(b.Filter, mac, b.Parameters, func(name string) *nwfilter.Filter {
		if f, err := a.view.Filter(name); err == nil {
			return f.Filter
		}
		return nil
	})
	var missing *policy.MissingError
	if !errors.As(err, &missing) {
		found.fault = err
		return found
	}
	for _, use := range missing.Uses {
		found.ipv4 = found.ipv4 || use.Variable.Name == "IP"
		found.ipv6 = found.ipv6 || use.Variable.Name == "IPV6"
	}
	return found
}
