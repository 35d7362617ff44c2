package store

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/uuid"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
	"tapgate/nwfilter/builtin"
)

// Update reads and changes.
type Update struct{ *View }

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
func (u *Update) Define(f *Filter) (Change, error) {
	if err := u.Check(f); err != nil {
		return 0, err
	}
	old := u.replaced(f.Name)
	n := note{UUID: f.UUID, File: f.File, Lenient: f.Lenient}
	if n.UUID == "" && old != nil {
		n.UUID = old.UUID
	}
	if n.UUID == "" {
		n.UUID = uuid.NewString()
	}
	if err := u.backend.Write(FilterKind, f.Name, join(f.Source, n)); err != nil {
		return 0, err
	}
	delete(u.read, f.Name)
	switch now, err := u.stored(f.Name); {
	case err != nil:
		return 0, err
	case old == nil:
		return Added, nil
	case nwfilter.Equal(old.Filter, now.Filter):
		return Unchanged, nil
	}
	return Replaced, nil
}

// Check tells whether Define would refuse the filter.
func (u *Update) Check(f *Filter) error {
	if err := checkName(FilterKind, f.Name); err != nil {
		return err
	}
	if path := u.loop(f); path != nil {
		return fmt.Errorf("filter %q would reference itself: %s", f.Name, strings.Join(path, " → "))
	}
	if f.UUID == "" {
		return nil
	}
	if old := u.replaced(f.Name); old != nil && old.UUID != "" && old.UUID != f.UUID {
		return fmt.Errorf("filter %q is defined with the UUID %s, not %s; leave <uuid> out to replace it", f.Name, old.UUID, f.UUID)
	}
	if other := u.withUUID(f.UUID); other != "" && other != f.Name {
		return fmt.Errorf("filter %q has the UUID %s of filter %q; leave <uuid> out to get another", f.Name, f.UUID, other)
	}
	return nil
}

// replaced is the stored filter of a name. A text that cannot be read may be
// replaced like any other, and counts as none.
func (u *Update) replaced(name string) *Filter {
	f, _ := u.stored(name)
	return f
}

// loop is the path of references that leads from the filter to itself, nil if
// there is none.
func (u *Update) loop(f *Filter) []string {
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
			if target, err := u.Filter(name); err == nil {
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
func (u *Update) withUUID(id string) string {
	list, _, _ := u.Filters()
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
// binding names it and nothing would take its place.
func (u *Update) Undefine(name string, force bool) error {
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
	err := u.backend.Remove(FilterKind, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && builtin.Get(name) != nil:
		return fmt.Errorf("filter %q is built in and cannot be undefined", name)
	case errors.Is(err, fs.ErrNotExist):
		return notFound(fmt.Sprintf("filter %q is not defined; \"tapgate filter list\" shows what is", name))
	}
	delete(u.read, name)
	return err
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

// Reach are the ports whose bindings lead to a filter, directly or through
// references.
func (v *View) Reach(name string) ([]string, error) {
	seen, ports := map[string]bool{}, []string{}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		filters, bound, err := v.Users(queue[0])
		if err != nil {
			return nil, err
		}
		queue = append(queue, filters...)
		ports = append(ports, bound...)
	}
	return ports, nil
}

// Bind stores a binding in the place of what the port had. A binding without
// an owner is its own: the document's form asks for a name and a UUID.
func (u *Update) Bind(b *binding.Binding) error {
	if err := checkName(BindingKind, b.Port); err != nil {
		return err
	}
	whole := *b
	if whole.OwnerName == "" {
		whole.OwnerName = b.Port
	}
	if whole.OwnerUUID == "" {
		whole.OwnerUUID = uuid.NewString()
		if old, err := u.Binding(b.Port); err == nil && old.OwnerName == whole.OwnerName {
			whole.OwnerUUID = old.OwnerUUID
		}
	}
	return u.backend.Write(BindingKind, b.Port, []byte(binding.Format(&whole)))
}

// Unbind removes a binding; ErrNotFound if there is none.
func (u *Update) Unbind(port string) error {
	err := u.backend.Remove(BindingKind, port)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound(fmt.Sprintf("port %q is not bound; \"tapgate list\" shows what is", port))
	}
	return err
}
