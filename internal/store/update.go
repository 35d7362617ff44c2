package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
	"tapgate/nwfilter/builtin"
)

// Update reads and changes, and keeps the journal of it. A document that it
// meets and cannot read is set aside.
type Update struct {
	*View
	by    Actor
	aside []error
	// recovered is set once last, the number of the last change, is known and
	// all changes before have a result.
	recovered bool
	last      int64
}

// Change is what a definition changed.
type Change uint8

// The changes.
const (
	Added     Change = iota // there was no filter of that name, or a built-in one
	Replaced                // there was another text
	Unchanged               // the filter says what it said before
)

// Define stores a filter. One without a UUID gets that of the filter it
// replaces, or a new one. It is refused if its UUID is another filter's, if
// the one it replaces has another UUID, or if its references lead back to it.
// References to what is not defined yet are taken.
//
// Before it is stored, enforce puts it in force at the ports that use it, or is
// nil: if that fails, nothing is stored.
func (u *Update) Define(f *Filter, enforce func() error) (Change, error) {
	return u.define(DefineOp, f, enforce)
}

// Rollback is Define with one of the filter's revisions.
func (u *Update) Rollback(f *Filter, enforce func() error) (Change, error) {
	return u.define(RollbackOp, f, enforce)
}

func (u *Update) define(op Operation, f *Filter, enforce func() error) (Change, error) {
	d, err := u.defining(op, f)
	if err != nil {
		return 0, err
	}
	switch {
	case d.changes():
		if err := u.commit(enforce, d.change); err != nil {
			return 0, err
		}
	case enforce != nil:
		if err := enforce(); err != nil {
			return 0, err
		}
	}
	return d.outcome(u)
}

// definition is a change of a filter.
type definition struct {
	*change
	old *Filter
}

func (u *Update) defining(op Operation, f *Filter) (*definition, error) {
	if err := u.Check(f); err != nil {
		return nil, err
	}
	old := u.replaced(f.Name)
	n := note{UUID: f.UUID, File: f.File, Lenient: f.Lenient}
	if n.UUID == "" && old != nil {
		n.UUID = old.UUID
	}
	if n.UUID == "" {
		n.UUID = uuid.NewString()
	}
	c, err := u.writing(op, FilterKind, f.Name, join(f.Source, n))
	return &definition{c, old}, err
}

// outcome is what the change changed.
func (d *definition) outcome(v *Update) (Change, error) {
	switch now, err := v.stored(d.Name); {
	case err != nil:
		return 0, err
	case d.old == nil:
		return Added, nil
	case nwfilter.Equal(d.old.Filter, now.Filter):
		return Unchanged, nil
	}
	return Replaced, nil
}

// Check tells whether Define would refuse the filter.
func (v *View) Check(f *Filter) error {
	if err := checkName(FilterKind, f.Name); err != nil {
		return err
	}
	if path := v.loop(f); path != nil {
		return invalidf("filter %q would reference itself: %s", f.Name, strings.Join(path, " → "))
	}
	if f.UUID == "" {
		return nil
	}
	if old := v.replaced(f.Name); old != nil && old.UUID != "" && old.UUID != f.UUID {
		return invalidf("filter %q is defined with the UUID %s, not %s; leave <uuid> out to replace it", f.Name, old.UUID, f.UUID)
	}
	if other := v.withUUID(f.UUID); other != "" && other != f.Name {
		return invalidf("filter %q has the UUID %s of filter %q; leave <uuid> out to get another", f.Name, f.UUID, other)
	}
	return nil
}

// replaced is the stored filter of a name. A text that cannot be read may be
// replaced like any other, and counts as none.
func (v *View) replaced(name string) *Filter {
	f, _ := v.stored(name)
	return f
}

// loop is the path of references that leads from the filter to itself, nil if
// there is none.
func (v *View) loop(f *Filter) []string {
	visited := map[string]bool{}
	var search func(at *nwfilter.Filter, path []string) []string
	search = func(at *nwfilter.Filter, path []string) []string {
		for _, name := range references(at) {
			next := append(path[:len(path):len(path)], name)
			if name == f.Name {
				return next
			}
			if visited[name] {
				continue
			}
			visited[name] = true
			if target, err := v.Filter(name); err == nil {
				if found := search(target.Filter, next); found != nil {
					return found
				}
			}
		}
		return nil
	}
	return search(f.Filter, []string{f.Name})
}

func references(f *nwfilter.Filter) []string {
	var names []string
	for _, e := range f.Entries {
		if e.Reference != nil {
			names = append(names, e.Reference.Filter)
		}
	}
	return names
}

// withUUID is the stored filter that has a UUID, "" if none has.
func (v *View) withUUID(id string) string {
	list, _, _ := v.Filters()
	for _, f := range list {
		if !f.BuiltIn && f.UUID == id {
			return f.Name
		}
	}
	return ""
}

// InUseError refuses to undefine a filter.
type InUseError struct {
	Filter string
	// Filters reference it, Ports are bound to it.
	Filters, Ports []string
}

func (e *InUseError) Error() string {
	var users []string
	for _, name := range e.Filters {
		users = append(users, "filter "+name)
	}
	for _, port := range e.Ports {
		users = append(users, "port "+port)
	}
	return fmt.Sprintf("filter %q is in use by %s", e.Filter, strings.Join(users, ", "))
}

// Undefine removes a stored filter; a built-in one of that name is there
// again. Unless forced, it fails with *InUseError if another filter or a
// binding names it and nothing would take its place. Before that, enforce puts
// the built-in one in force, as with Define.
func (u *Update) Undefine(name string, force bool, enforce func() error) error {
	inUse := &InUseError{Filter: name}
	if builtin.Get(name) == nil && !force {
		var err error
		if inUse.Filters, inUse.Ports, err = u.Users(name); err != nil {
			return err
		}
		if len(inUse.Filters)+len(inUse.Ports) > 0 {
			if _, err := u.backend.Read(FilterKind, name); err == nil {
				return inUse
			}
		}
	}
	c, err := u.removing(UndefineOp, FilterKind, name)
	switch {
	case err != nil:
		return err
	case c.old == nil && builtin.Get(name) != nil:
		return invalidf("filter %q is built in and cannot be undefined", name)
	case c.old == nil:
		return u.missing(FilterKind, name)
	}
	return u.commit(enforce, c)
}

// Users are the other stored filters and the bindings that name a filter.
func (v *View) Users(name string) (filters, ports []string, err error) {
	all, _, err := v.Filters()
	if err != nil {
		return nil, nil, err
	}
	for _, f := range all {
		for _, r := range references(f.Filter) {
			if r == name && f.Name != name {
				filters = append(filters, f.Name)
				break
			}
		}
	}
	bindings, _, err := v.Bindings()
	if err != nil {
		return nil, nil, err
	}
	for _, b := range bindings {
		if b.Filter == name {
			ports = append(ports, b.Port)
		}
	}
	return filters, ports, nil
}

// LeadsTo tells of other filters whether they are the one of that name, or
// reference it, directly or by others.
func (v *View) LeadsTo(name string) func(filter string) bool {
	known := map[string]bool{name: true}
	var leads func(filter string) bool
	leads = func(filter string) bool {
		if answer, ok := known[filter]; ok {
			return answer
		}
		known[filter] = false // while it is looked into: loops lead nowhere
		f, err := v.Filter(filter)
		known[filter] = err == nil && slices.ContainsFunc(references(f.Filter), leads)
		return known[filter]
	}
	return leads
}

// Reach are the ports whose bindings lead to a filter, directly or through
// references.
func (v *View) Reach(name string) ([]string, error) {
	bindings, _, err := v.Bindings()
	if err != nil {
		return nil, err
	}
	leads, ports := v.LeadsTo(name), []string{}
	for _, b := range bindings {
		if leads(b.Filter) {
			ports = append(ports, b.Port)
		}
	}
	return ports, nil
}

// Bind stores a binding in the place of what the port had, and with it the
// filter own if that is not nil. Before that it calls enforce, which puts it in
// force, or may be nil: if that fails, nothing is stored. What is stored is the
// Whole binding. Of another guest that the port had, only leases stay that outlive
// its binding.
func (u *Update) Bind(b *binding.Binding, own *Filter, enforce func() error) (Change, error) {
	old, _ := u.Binding(b.Port)
	whole := wholeBinding(b, old)
	c, err := u.writing(BindOp, BindingKind, b.Port, join([]byte(binding.Format(whole)), note{}))
	if err != nil {
		return 0, err
	}
	changes := []*change{c}
	if own == nil {
		if err := u.commit(enforce, changes...); err != nil {
			return Unchanged, err
		}
		u.endLeasesOf(old)
		return Unchanged, nil
	}
	d, err := u.defining(DefineOp, own)
	if err != nil {
		return 0, err
	}
	if d.changes() {
		changes = []*change{d.change, c}
	}
	if err := u.commit(enforce, changes...); err != nil {
		return 0, err
	}
	u.endLeasesOf(old)
	return d.outcome(u)
}

// Whole is a binding as Bind stores it. One without an owner is its own: the
// document's form asks for a name and a UUID, and a UUID that is made up stays the
// port's.
func (v *View) Whole(b *binding.Binding) *binding.Binding {
	old, _ := v.Binding(b.Port)
	return wholeBinding(b, old)
}

// wholeBinding is Whole where the port has the binding old, or none.
func wholeBinding(b, old *binding.Binding) *binding.Binding {
	whole := *b
	if whole.OwnerName == "" {
		whole.OwnerName = b.Port
	}
	if whole.OwnerUUID == "" {
		whole.OwnerUUID = uuid.NewString()
		if old != nil && old.OwnerName == whole.OwnerName {
			whole.OwnerUUID = old.OwnerUUID
		}
	}
	return &whole
}

// Unbind removes a binding; ErrNotFound if there is none. Before that it calls
// release, which stops guarding the port, or may be nil: if that fails, the
// binding stays. It is told whether there is one: a port may be guarded without.
// Of the guest's leases those stay that outlive the binding.
func (u *Update) Unbind(port string, release func(stored bool) error) error {
	old, _ := newView(u.backend).Binding(port)
	c, err := u.removing(UnbindOp, BindingKind, port)
	if err != nil {
		return err
	}
	stored := c.old != nil
	switch {
	case !stored && (release == nil || checkName(BindingKind, port) != nil):
		return u.missing(BindingKind, port)
	case release == nil:
		err = u.commit(nil, c)
	default:
		err = u.commit(func() error { return release(stored) }, c)
	}
	if err == nil {
		u.endLeasesOf(old)
	}
	return err
}
