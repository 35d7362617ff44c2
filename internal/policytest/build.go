package policytest

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"tapgate/internal/learn"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

// Refusal is an error of the filters, with the stage at which they were
// refused: "define NAME" or "bind".
type Refusal struct {
	Stage string
	Err   error
}

func (r *Refusal) Error() string { return r.Stage + ": " + r.Err.Error() }

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// definitions are the filters of a test, the built-in ones underneath.
type definitions map[string]*nwfilter.Filter

func (d definitions) lookup(name string) *nwfilter.Filter {
	if f := d[name]; f != nil {
		return f
	}
	return builtin.Get(name)
}

// define reads the filters in order. The error is a *Refusal.
func (t *Test) define() (definitions, error) {
	defined := definitions{}
	for i, src := range t.Filters {
		// Positions name the document as the test does: by its number.
		f, diagnostics := nwfilter.Parse([]byte(src), fmt.Sprintf("filter-%d.xml", i+1), nwfilter.Options{Lenient: t.Lenient})
		if f == nil {
			return defined, &Refusal{Stage: fmt.Sprintf("define filter %d", i+1), Err: diagnostics.Errors()}
		}
		defined[f.Name] = f
	}
	return defined, nil
}

// Policy works the test's binding out. The error is a *Refusal.
func (t *Test) Policy() (*policy.Policy, error) {
	defined, err := t.define()
	if err != nil {
		return nil, err
	}
	return t.bind(defined)
}

func (t *Test) bind(defined definitions) (*policy.Policy, error) {
	p, err := t.resolve(defined, nil)
	if err == nil {
		_, err = t.settings()
	}
	if err != nil {
		return nil, &Refusal{Stage: "bind", Err: err}
	}
	return p, nil
}

// resolve works the binding out for a guest of which these leases are known.
func (t *Test) resolve(defined definitions, leases []learn.Lease) (*policy.Policy, error) {
	return policy.ResolveLearning(t.Binding.Filter, net.HardwareAddr(t.Binding.MAC), t.Binding.Parameters, leases, defined.lookup)
}

// settings are those among the binding's parameters.
func (t *Test) settings() (settings.Settings, error) {
	values, err := settings.Resolve(nil, t.Binding.Parameters)
	return values.Settings(), err
}

// expectedAt tells whether a refusal comes where the test expects one. What
// must be refused when it is defined may also be refused when it is bound,
// where faults that need other filters, such as loops, are found.
func (e *ExpectError) expectedAt(r *Refusal) bool {
	return strings.HasPrefix(e.Stage, definePrefix) || r.Stage == "bind"
}

// list are the defined filters in the order of their names.
func (d definitions) list() []*nwfilter.Filter {
	return slices.SortedFunc(maps.Values(d), func(a, b *nwfilter.Filter) int { return cmp.Compare(a.Name, b.Name) })
}
