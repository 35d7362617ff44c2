package agent

import (
	"context"
	"errors"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

func filterInfo(f *store.Filter) FilterInfo {
	info := FilterInfo{Name: f.Name, UUID: f.UUID, Chain: f.Chain, BuiltIn: f.BuiltIn, Overrides: f.Overrides}
	if !f.BuiltIn {
		info.File = f.File
	}
	return info
}

// Filters lists all filters by name.
func (a *Agent) Filters(ctx context.Context) (list []FilterInfo, faults []error, err error) {
	err = a.store.View(ctx, func(v *store.View) error {
		filters, unreadable, err := v.Filters()
		for _, f := range filters {
			list = append(list, filterInfo(f))
		}
		faults = unreadable
		return err
	})
	return list, faults, err
}

// Filter gives a filter as it is, or one of its revisions if that is not "".
func (a *Agent) Filter(ctx context.Context, name, revision string) (*Filter, error) {
	var f *store.Filter
	err := a.store.View(ctx, func(v *store.View) (err error) {
		if revision == "" {
			f, err = v.Filter(name)
		} else {
			f, _, err = v.Revision(name, revision)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	shown := &Filter{FilterInfo: filterInfo(f), Source: string(f.Source), Lenient: f.Lenient, XML: nwfilter.Format(f.Filter)}
	shown.File = f.File
	return shown, nil
}

// Revisions are the texts that a filter had, the newest first.
func (a *Agent) Revisions(ctx context.Context, name string) (list []store.Revision, err error) {
	err = a.store.View(ctx, func(v *store.View) (err error) {
		list, err = v.Revisions(name)
		return err
	})
	return list, err
}

// standardInput is what positions call a document that has no file.
const standardInput = "(standard input)"

// parse reads a document. The error is nwfilter.Diagnostics.
func (d *Document) parse(v *store.View) (*store.Filter, []string, error) {
	place := d.File
	if place == "" {
		place = standardInput
	}
	f, diagnostics := store.ParseFilter([]byte(d.Source), place, d.Lenient)
	if f == nil {
		return nil, nil, diagnostics.Errors()
	}
	f.File = d.File
	f = placed(v, f)
	var warnings []string
	for _, w := range diagnostics.Warnings() {
		warnings = append(warnings, w.String())
	}
	return f, warnings, nil
}

// placed is a filter whose positions are what they will be once it is stored: if
// it came from no file, its own is where the lines are.
func placed(v *store.View, f *store.Filter) *store.Filter {
	if f.File != "" {
		return f
	}
	again, _ := store.ParseFilter(f.Source, v.FilterPlace(f.Name), f.Lenient)
	again.File, again.UUID = "", f.UUID
	return again
}

var changeWords = map[store.Change]string{store.Added: "defined", store.Replaced: "replaced", store.Unchanged: "unchanged"}

// Define stores a filter and puts it in force at all ports that use it: at each
// without a moment in between, and at none if one of them cannot take it.
func (a *Agent) Define(ctx context.Context, by store.Actor, d Document, dryRun bool) (*FilterChange, error) {
	done := &FilterChange{}
	notes, err := a.update(ctx, by, func(u *store.Update) error {
		f, warnings, err := d.parse(u.View)
		if err != nil {
			return err
		}
		done.Filter, done.Warnings = f.Name, warnings
		if err := u.Check(f); err != nil {
			return err
		}
		return a.changeFilter(ctx, u, done, f.Filter, dryRun, func(enforce func() error) error {
			change, err := u.Define(f, enforce)
			done.What = changeWords[change]
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if done.Notes = notes; dryRun {
		done.What = "planned"
	}
	return done, nil
}

// Rollback defines a filter with a text that it had before, the last one if to
// is "".
func (a *Agent) Rollback(ctx context.Context, by store.Actor, name, to string, dryRun bool) (*FilterChange, error) {
	done := &FilterChange{Filter: name, What: "rolled back"}
	work := func(u *store.Update) error {
		f, revision, err := u.Revision(name, to)
		if err != nil {
			return err
		}
		if err := u.Check(f); err != nil {
			return err
		}
		f = placed(u.View, f)
		done.Revision, done.Diff = &revision, difference(u.View, f, revision)
		return a.changeFilter(ctx, u, done, f.Filter, dryRun, func(enforce func() error) error {
			_, err := u.Rollback(f, enforce)
			return err
		})
	}
	var err error
	if done.Notes, err = a.update(ctx, by, work); err != nil {
		return nil, err
	}
	if done.Diff == "" {
		done.What = "unchanged"
	}
	return done, nil
}

// difference is between what a filter is, if it can be read, and what it will
// be; empty if there is none.
func difference(v *store.View, to *store.Filter, revision store.Revision) string {
	var now []byte
	if f, err := v.Filter(to.Name); err == nil {
		now = f.Source
	}
	text := diff.Diff(to.Name+" now", now, to.Name+" "+store.Short(revision.Digest), to.Source)
	_, hunks, _ := strings.Cut(string(text), "\n") // the first line names a command
	return hunks
}

// Undefine removes a stored filter. Where it took the place of a built-in one,
// that is in force again.
func (a *Agent) Undefine(ctx context.Context, by store.Actor, name string, force bool) (*FilterChange, error) {
	done := &FilterChange{Filter: name, What: "undefined", BuiltIn: builtin.Get(name) != nil}
	var err error
	done.Notes, err = a.update(ctx, by, func(u *store.Update) error {
		undefine := func(enforce func() error) error { return u.Undefine(name, force, enforce) }
		if !done.BuiltIn {
			if inUse := a.usedByDefault(u.View, name); inUse != nil && !force {
				return inUse
			}
			// Nothing comes in its place: what is in force stays.
			return undefine(nil)
		}
		if stored, err := u.Filter(name); err == nil && stored.BuiltIn {
			return undefine(nil) // says why not
		}
		return a.changeFilter(ctx, u, done, builtin.Get(name), false, undefine)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// usedByDefault is an error if the default filter is that filter or leads to it,
// as far as nobody else uses it.
func (a *Agent) usedByDefault(v *store.View, name string) error {
	d := a.defaultFilter()
	if d == nil || !v.LeadsTo(name)(d.Filter) {
		return nil
	}
	filters, ports, err := v.Users(name)
	if err != nil {
		return err
	}
	return &store.InUseError{Filter: name, Filters: filters, Ports: append(ports, strings.Join(d.Patterns, " or ")+" without a binding")}
}

// changeFilter makes the ports that use a filter ready for its next text, stores
// it by calling store, and puts it in force meanwhile.
func (a *Agent) changeFilter(ctx context.Context, u *store.Update, done *FilterChange, next *nwfilter.Filter, dryRun bool, store func(enforce func() error) error) error {
	t, err := a.plan(ctx, u.View, "filter "+done.Filter, map[string]*nwfilter.Filter{done.Filter: next}, u.LeadsTo(done.Filter))
	if err != nil {
		return err
	}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	defer t.discard()
	if dryRun {
		done.Ports = t.planned()
		return nil
	}
	if err := store(t.enforce(ctx)); err != nil {
		return err
	}
	done.Ports = t.changes()
	return nil
}
