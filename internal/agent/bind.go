package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapgate/internal/datapath"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// Bind stores a binding and puts it in force, and before that the filter own, if
// that is not nil, at every port that uses it. If anything fails, all is as it
// was. A daemon's binding may wait for its device.
func (a *Agent) Bind(ctx context.Context, by store.Actor, b binding.Binding, own *Document) (*Bound, error) {
	var done *Bound
	notes, err := a.update(ctx, by, func(u *store.Update) (err error) {
		if own == nil {
			done, err = a.bind(ctx, u, &b, nil)
			return err
		}
		f, warnings, err := own.parse(u.View)
		if err != nil {
			return err
		}
		if done, err = a.bind(ctx, u, &b, f); err == nil {
			done.Definition.Warnings = warnings
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	done.Notes = append(done.Notes, notes...)
	return done, nil
}

// BindAgain puts the stored binding of a port in force.
func (a *Agent) BindAgain(ctx context.Context, by store.Actor, port string) (*Bound, error) {
	var done *Bound
	notes, err := a.update(ctx, by, func(u *store.Update) error {
		b, err := u.Binding(port)
		if isNotFound(err) {
			return &notBoundError{port}
		}
		if err != nil {
			return err
		}
		done, err = a.bind(ctx, u, b, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	done.Notes = append(done.Notes, notes...)
	return done, nil
}

// notBoundError says that nothing is known of what a port should enforce.
type notBoundError struct{ port string }

func (e *notBoundError) Error() string {
	return fmt.Sprintf("port %q was not bound before: give --filter and --mac", e.port)
}
func (e *notBoundError) Is(target error) bool { return target == store.ErrNotFound }

func (a *Agent) bind(ctx context.Context, u *store.Update, b *binding.Binding, own *store.Filter) (*Bound, error) {
	start := time.Now()
	b = u.Whole(b)
	done := &Bound{Port: b.Port, Filter: b.Filter, MAC: b.MAC.String()}
	what, next := "the binding of "+b.Port, map[string]*nwfilter.Filter{}
	if own != nil {
		if err := u.Check(own); err != nil {
			return nil, err
		}
		what, next[own.Name] = "filter "+own.Name, own.Filter
	}
	r, err := a.resolver(u.View, next)
	if err != nil {
		return nil, err
	}
	want, err := r.want(b)
	if err != nil {
		return nil, err
	}
	done.Rules, done.Settings, done.Learning = len(want.policy.Clauses), want.meta.Settings, want.meta.Learning
	t := &transaction{Agent: a, what: what}
	if own != nil {
		if t, err = a.planBeside(ctx, u, b.Port, what, next, u.LeadsTo(own.Name)); err != nil {
			return nil, err
		}
	}
	if t.datapath, err = a.open(); err != nil {
		return nil, err
	}
	j := &job{port: b.Port, want: want}
	if j.prepare(ctx, t.datapath); j.err != nil && !(isMissing(j.err) && a.daemon != nil) {
		if isMissing(j.err) {
			return nil, fmt.Errorf("%w; %w", j.err, errNoDaemon)
		}
		return nil, j.err
	}
	t.jobs = append(t.jobs, j)
	defer t.discard()
	if err := t.prepareOthers(ctx, j); err != nil {
		return nil, err
	}
	enforce := t.enforce(ctx)
	change, err := u.Bind(b, own, func() error {
		err := enforce()
		if err == nil {
			err = j.err
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(want.waitsFor()) > 0 && a.daemon == nil {
		j.change.Notes = append(j.change.Notes, "nobody learns the guest's address before the daemon runs (\"tapgate daemon\")")
	}
	if !j.waiting {
		a.learners.meet(b, a.devicesSeen[b.Port])
	}
	done.Change, done.Waiting, done.Milliseconds = j.change, j.waiting, milliseconds(time.Since(start))
	if own != nil {
		done.Definition = &FilterChange{Filter: own.Name, What: changeWords[change], Ports: t.changesBeside(b.Port)}
	}
	if j.waiting {
		a.setFault(b.Port, "")
		a.setState(b.Port, Waiting)
		a.log.Info("binding waits for its device", "port", b.Port, "filter", b.Filter)
	}
	return done, nil
}

// planBeside plans the ports that use a filter, but for one.
func (a *Agent) planBeside(ctx context.Context, u *store.Update, port, what string, next map[string]*nwfilter.Filter, leads func(string) bool) (*transaction, error) {
	t, err := a.plan(ctx, u.View, what, next, leads)
	if err != nil {
		var refused *RefusedError
		if !errors.As(err, &refused) || len(refused.Ports) > 1 || refused.Ports[0].Port != port {
			return nil, err
		}
		return &transaction{Agent: a, what: what}, nil
	}
	t.forget(port)
	return t, nil
}

// prepareOthers is prepare for all jobs but one that is prepared already.
func (t *transaction) prepareOthers(ctx context.Context, ready *job) error {
	if isMissing(ready.err) {
		ready.err, ready.waiting = nil, true
	}
	return t.prepare(ctx)
}

// Unbind forgets the binding of a port and stops guarding it; it is guarded by
// the default filter from then on, if that covers it.
func (a *Agent) Unbind(ctx context.Context, by store.Actor, port string) error {
	_, err := a.update(ctx, by, func(u *store.Update) error {
		d, err := a.open()
		if err != nil {
			return err
		}
		return u.Unbind(port, func(stored bool) error {
			if a.defaultFilter().covers(port) && stored {
				return a.fallBack(ctx, u.View, d, port)
			}
			err := d.Release(ctx, port)
			var notGuarded *datapath.NotGuardedError
			if errors.As(err, &notGuarded) {
				if err = nil; !stored {
					_, err = u.Binding(port) // which is missing
				}
			}
			if err == nil {
				a.unlearn(port)
				a.setFault(port, "")
				a.setState(port, "")
			}
			return err
		})
	})
	if err == nil {
		a.log.Info("port unbound", "port", port, "by", by.String())
	}
	return err
}

// fallBack puts the default filter in the place of what is in force, or shuts the
// port if that cannot be.
func (a *Agent) fallBack(ctx context.Context, v *store.View, d Datapath, port string) error {
	r, err := a.resolver(v, nil)
	if err != nil {
		return err
	}
	want, err := r.want(a.defaultFilter().binding(port))
	if err != nil {
		a.setFault(port, err.Error()+"; it is shut: nothing passes")
		return d.Shut(ctx, port, true)
	}
	p, err := d.Prepare(ctx, port, want.policy, want.meta)
	if isMissing(err) {
		err := d.Release(ctx, port)
		var notGuarded *datapath.NotGuardedError
		if errors.As(err, &notGuarded) {
			err = nil
		}
		a.setState(port, "")
		return err
	}
	if err != nil {
		a.setFault(port, err.Error()+"; it is shut: nothing passes")
		return d.Shut(ctx, port, true)
	}
	a.unlearn(port)
	_, err = p.Commit(ctx)
	return err
}
