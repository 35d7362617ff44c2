package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"tapgate/internal/compile"
	"tapgate/internal/datapath"
	"tapgate/internal/learn"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// DefaultFilter guards devices that have no binding.
type DefaultFilter struct {
	Filter string
	// Patterns of devices: "vnet*" for all whose names begin with vnet, or a name.
	Patterns []string
}

// covers tells whether a device of that name gets the filter if it has no
// binding. d may be nil.
func (d *DefaultFilter) covers(name string) bool {
	return d != nil && slices.ContainsFunc(d.Patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return name == pattern || open && strings.HasPrefix(name, prefix)
	})
}

// binding is what the filter comes down to at a device. Nobody knows the guest's
// address.
func (d *DefaultFilter) binding(name string) *binding.Binding {
	return &binding.Binding{Port: name, Filter: d.Filter}
}

// wanted is what a port should enforce.
type wanted struct {
	binding *binding.Binding
	policy  *policy.Policy
	meta    datapath.Meta
	// leases that the policy was worked out with.
	leases []learn.Lease
}

// state is how a port stands that enforces it.
func (w *wanted) state() datapath.State { return stateOf(datapath.Guarded, w.meta.Learning) }

// waitsFor are the variables without any address yet.
func (w *wanted) waitsFor() []string {
	if w.meta.Learning == nil {
		return nil
	}
	return w.meta.Learning.Waiting
}

// resolver works bindings out from what is stored.
type resolver struct {
	view *store.View
	host settings.Given
	// next are filters as they are to be, in place of what is stored: nil for one
	// that is to be gone.
	next map[string]*nwfilter.Filter
	// known are the leases of a binding's guest.
	known func(*binding.Binding) []learn.Lease
}

func (a *Agent) resolver(v *store.View, next map[string]*nwfilter.Filter) (*resolver, error) {
	host, err := v.Settings()
	return a.resolverWith(v, host, next), err
}

func (a *Agent) resolverWith(v *store.View, host settings.Given, next map[string]*nwfilter.Filter) *resolver {
	now := time.Now()
	return &resolver{view: v, host: host, next: next, known: func(b *binding.Binding) []learn.Lease { return a.known(v, b, now) }}
}

// placeholderMAC stands for a guest whose address nobody knows.
var placeholderMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

// want works a binding out. Without an address it fails if a rule asks for it.
func (r *resolver) want(b *binding.Binding) (*wanted, error) {
	values, err := settings.Resolve(r.host, b.Parameters)
	if err != nil {
		return nil, err
	}
	var unreadable error
	lookup := func(name string) *nwfilter.Filter {
		if f, ok := r.next[name]; ok {
			return f
		}
		f, err := r.view.Filter(name)
		if err == nil {
			return f.Filter
		}
		if unreadable == nil && !isNotFound(err) {
			unreadable = err
		}
		return nil
	}
	w := &wanted{binding: b}
	if b.MAC == nil {
		w.policy, err = policy.Resolve(b.Filter, placeholderMAC, b.Parameters, lookup)
	} else {
		w.leases = r.known(b)
		w.policy, err = policy.ResolveLearning(b.Filter, b.MAC, b.Parameters, w.leases, lookup)
	}
	p := w.policy
	switch {
	case err != nil && unreadable != nil:
		return nil, unreadable
	case err != nil:
		return nil, err
	}
	if b.MAC == nil {
		if err := needsNoMAC(p); err != nil {
			return nil, err
		}
		p.MAC = nil
	}
	if missing := compile.Unsupported(p); len(missing) > 0 {
		return nil, &datapath.UnsupportedError{Missing: missing}
	}
	meta := datapath.Meta{Parameters: map[string][]string{}, Settings: values, Learning: showLearning(p.Learning)}
	for _, param := range b.Parameters {
		meta.Parameters[param.Name] = append(meta.Parameters[param.Name], param.Value)
	}
	meta.Digest = digestOf(p, &meta)
	meta.BoundAt = time.Now().UTC()
	w.meta = meta
	return w, nil
}

// showLearning is what is pinned of it; nil for nil.
func showLearning(l *policy.Learning) *datapath.Learning {
	if l == nil {
		return nil
	}
	return &datapath.Learning{Mode: l.Config.Mode.String(), Wants: l.Wants, Waiting: l.Waiting, Restricted: l.Restricted, Offered: l.Offered}
}

// needsNoMAC fails if a rule asks for the guest's address.
func needsNoMAC(p *policy.Policy) error {
	for _, c := range p.Clauses {
		if slices.Contains(c.Origin.Values, "MAC="+placeholderMAC.String()) {
			return fmt.Errorf("%s: $MAC has no value where the device has no binding; choose a default filter that does not ask for it, or bind the port", c.Origin)
		}
	}
	return nil
}

// digestOf names all that a port is to enforce and to tell of it: what decides,
// where it stands, and the settings.
func digestOf(p *policy.Policy, meta *datapath.Meta) string {
	sum := sha256.New()
	encoder := json.NewEncoder(sum)
	write := func(values ...any) {
		for _, v := range values {
			if err := encoder.Encode(v); err != nil {
				panic("agent: " + err.Error()) // strings and numbers always encode
			}
		}
	}
	write(p.Filter, p.MAC.String(), p.Fingerprint, p.Observe, meta.Parameters, meta.Settings, meta.Learning)
	for _, c := range p.Clauses {
		write(c.String(), c.Comment, c.Origin)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
