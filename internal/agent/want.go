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
	policy *policy.Policy
	meta   datapath.Meta
}

// resolver works bindings out from what is stored.
type resolver struct {
	view *store.View
	host settings.Given
	// next are filters as they are to be, in place of what is stored: nil for one
	// that is to be gone.
	next map[string]*nwfilter.Filter
}

func newResolver(v *store.View, next map[string]*nwfilter.Filter) (*resolver, error) {
	host, err := v.Settings()
	return &resolver{view: v, host: host, next: next}, err
}

// placeholderMAC stands for a guest whose address nobody knows.
var placeholderMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}

// want works a binding out. Without an address it fails if a rule asks for it.
func (r *resolver) want(b *binding.Binding) (*wanted, error) {
	values, err := settings.Resolve(r.host, b.Parameters)
	if err != nil {
		return nil, err
	}
	mac := b.MAC
	if mac == nil {
		mac = placeholderMAC
	}
	var unreadable error
	p, err := policy.Resolve(b.Filter, mac, b.Parameters, func(name string) *nwfilter.Filter {
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
	})
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
	meta := datapath.Meta{Parameters: map[string][]string{}, Settings: values}
	for _, param := range b.Parameters {
		meta.Parameters[param.Name] = append(meta.Parameters[param.Name], param.Value)
	}
	meta.Digest = digestOf(p, &meta)
	meta.BoundAt = time.Now().UTC()
	return &wanted{p, meta}, nil
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
	write(p.Filter, p.MAC.String(), p.Fingerprint, meta.Parameters, meta.Settings)
	for _, c := range p.Clauses {
		write(c.String(), c.Comment, c.Origin)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
