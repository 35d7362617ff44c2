// Package store keeps filters, bindings, the host's settings and the leases of
// guests, as text under a lock, and the rules about them: built-in filters are
// always there, references make no loops, UUIDs are unique, and what is in use is
// not removed. Where the text is kept is a Backend's matter.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
	"tapgate/nwfilter/builtin"
)

// DefaultDir is where files are kept.
const DefaultDir = "/var/lib/tapgate"

// Store is safe for concurrent use, by several processes too.
type Store struct {
	backend Backend
	by      func() Actor
}

// New keeps everything in a backend. Who changes it is this process.
func New(b Backend) *Store { return &Store{b, ThisProcess} }

// As is the store in the hands of somebody else, whom the journal names.
func (s *Store) As(by Actor) *Store { return &Store{s.backend, func() Actor { return by }} }

// ErrNotFound is wrapped by errors about a name that is not known.
var ErrNotFound = errors.New("not found")

// notFound reads as a sentence and is ErrNotFound.
type notFound string

func (e notFound) Error() string        { return string(e) }
func (e notFound) Is(target error) bool { return target == ErrNotFound }

// ErrInvalid is wrapped by errors about what is asked for and cannot be, whatever is
// stored otherwise.
var ErrInvalid = errors.New("not possible")

// invalid reads as a sentence and is ErrInvalid.
type invalid string

func (e invalid) Error() string        { return string(e) }
func (e invalid) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error { return invalid(fmt.Sprintf(format, args...)) }

// missing says that there is no such document.
func (v *View) missing(kind Kind, name string) error {
	if kind == BindingKind {
		return notFound(fmt.Sprintf("port %q is not bound; \"tapgate list\" shows what is", name))
	}
	return notFound(fmt.Sprintf("filter %q is not defined; \"tapgate filter list\" shows what is", name))
}

// View calls fn while nobody changes anything.
func (s *Store) View(ctx context.Context, fn func(*View) error) error {
	unlock, err := s.backend.Lock(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	return fn(newView(s.backend))
}

// Update calls fn while nobody else reads or changes anything. Each change is
// kept as soon as its method returns, whatever fn does then.
func (s *Store) Update(ctx context.Context, fn func(*Update) error) error {
	unlock, err := s.backend.Lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	u := &Update{View: newView(s.backend), by: s.by()}
	u.unreadable = u.setAside
	return fn(u)
}

// View reads. It must not be used after the function that got it returns.
type View struct {
	backend Backend
	// read are the filters that were read, nil for those that are not stored.
	read map[string]*Filter
	// unreadable is told of a document that cannot be read, and why, and returns
	// what to say of it.
	unreadable func(Kind, string, error) error
}

func newView(b Backend) *View {
	return &View{backend: b, read: map[string]*Filter{}, unreadable: func(_ Kind, _ string, fault error) error { return fault }}
}

// Filter is the stored filter, else the built-in one of that name. The error
// is ErrNotFound if there is neither.
func (v *View) Filter(name string) (*Filter, error) {
	f, err := v.stored(name)
	if f != nil || err != nil {
		return f, err
	}
	if b := builtin.Get(name); b != nil {
		return &Filter{Filter: b, Source: []byte(builtin.Source(name)), File: b.Pos.File, BuiltIn: true}, nil
	}
	return nil, v.missing(FilterKind, name)
}

// FilterPlace says where a filter of that name is kept or would be, for people.
func (v *View) FilterPlace(name string) string { return v.backend.Place(FilterKind, name) }

// stored is nil if no such filter is stored.
func (v *View) stored(name string) (*Filter, error) {
	if f, ok := v.read[name]; ok {
		return f, nil
	}
	text, err := v.backend.Read(FilterKind, name)
	if errors.Is(err, fs.ErrNotExist) {
		v.read[name] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	place := v.backend.Place(FilterKind, name)
	f, n, err := parseStored(text, place)
	if err != nil {
		return nil, v.unreadable(FilterKind, name, fmt.Errorf("the stored filter %q cannot be read: %w", name, err))
	}
	if f.Name != name {
		return nil, v.unreadable(FilterKind, name, fmt.Errorf("%s holds the filter %q: its file must be called %s%s", place, f.Name, f.Name, FilterKind.ending()))
	}
	if f.UUID == "" {
		f.UUID = n.UUID
	}
	f.Overrides = builtin.Get(name) != nil
	v.read[name] = f
	return f, nil
}

// Filters are all filters by name. What cannot be read is left out; faults
// tells about it.
func (v *View) Filters() (list []*Filter, faults []error, err error) {
	names, err := v.backend.Names(FilterKind)
	if err != nil {
		return nil, nil, err
	}
	stored := len(names)
	for _, name := range builtin.Names() {
		if !slices.Contains(names[:stored], name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := v.Filter(name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, f)
	}
	return list, faults, nil
}

// Binding is the stored binding of a port; ErrNotFound if there is none.
func (v *View) Binding(port string) (*binding.Binding, error) {
	text, err := v.backend.Read(BindingKind, port)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, v.missing(BindingKind, port)
	}
	if err != nil {
		return nil, err
	}
	place := v.backend.Place(BindingKind, port)
	fault := func(err error) error {
		return v.unreadable(BindingKind, port, fmt.Errorf("the stored binding of %q cannot be read: %w", port, err))
	}
	text, n := split(text)
	if err := n.check(); err != nil {
		return nil, fault(err)
	}
	list, diagnostics := binding.Parse(text, place, nwfilter.Options{Lenient: true})
	switch {
	case diagnostics.Err() != nil:
		return nil, fault(diagnostics.Errors()[:1])
	case len(list) != 1 || list[0].Port != port:
		return nil, fault(fmt.Errorf("%s does not hold it", place))
	}
	return &list[0], nil
}

// Bindings are all bindings by port, without those that cannot be read.
func (v *View) Bindings() (list []*binding.Binding, faults []error, err error) {
	ports, err := v.backend.Names(BindingKind)
	if err != nil {
		return nil, nil, err
	}
	for _, port := range ports {
		b, err := v.Binding(port)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, b)
	}
	return list, faults, nil
}
