package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapgate/internal/device"
	"tapgate/internal/store"
)

// DaemonOptions say how Run looks after ports.
type DaemonOptions struct {
	// Default guards devices without a binding; nil for none.
	Default *DefaultFilter
	// Gate holds devices that Default covers shut until they are admitted; nil if
	// the kernel has none: then they are open for the moment that it takes to see
	// them.
	Gate Gate
	// SetDown takes devices out of service that cannot be guarded.
	SetDown bool
	// Watch tells that devices changed, as device.Watch does; nil for that.
	Watch func(context.Context) (<-chan struct{}, error)
	// Every is the time between two looks at everything, DefaultEvery if 0.
	Every time.Duration
}

// DefaultEvery is how often the daemon looks at everything, whatever it was told
// of: a program that somebody took off a device is put back by then.
const DefaultEvery = 30 * time.Second

// Gate keeps new devices shut before anybody has seen them. Devices are known by
// their index.
type Gate interface {
	Admit(index int) error
	Shut(index int) error
	// SetAdmitted admits these and nothing else.
	SetAdmitted(indices []int) error
}

// beat is how often Run shows that it is alive.
const beat = 2 * time.Second

// setsEvery is the time between two looks at the kernel sets that filters name.
const setsEvery = 10 * time.Second

// Run keeps ports as they are wanted until ctx ends. ready is called once every
// known port enforces its binding, or is reported because it cannot. What it
// leaves is pinned, and goes on filtering without it.
func (a *Agent) Run(ctx context.Context, ready func()) error {
	d, err := a.open()
	if err != nil {
		return err
	}
	watch := a.daemon.Watch
	if watch == nil {
		watch = device.Watch
	}
	// Watching begins before the first look, so that nothing comes unseen between.
	changed, err := watch(ctx)
	if err != nil {
		return err
	}
	a.start(ctx, d)
	a.ready.Store(true)
	ready()
	go a.followSets(ctx, d)
	go a.learn(ctx, d)
	go a.expire(ctx)
	every := a.daemon.Every
	if every == 0 {
		every = DefaultEvery
	}
	look, alive := time.NewTicker(every), time.NewTicker(beat)
	defer look.Stop()
	defer alive.Stop()
	for {
		a.alive.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				// The full looks go on meanwhile.
				changed = nil
				if ctx.Err() == nil {
					a.log.Error("the kernel tells no more of devices; they are looked at now and then until it does", "every", every)
				}
				continue
			}
			a.pass(ctx, d, false)
		case <-look.C:
			if changed == nil {
				if changed, err = watch(ctx); err != nil {
					a.log.Error("cannot watch devices", "fault", err)
				}
			}
			a.pass(ctx, d, true)
		case <-a.asked:
			a.pass(ctx, d, true)
		case <-a.learners.wake:
			a.teach(ctx, d)
		case <-alive.C:
		}
	}
}

// Look makes Run look at everything soon.
func (a *Agent) Look() {
	select {
	case a.asked <- struct{}{}:
	default: // somebody asked already
	}
}

// Healthy tells whether Run has gone round lately.
func (a *Agent) Healthy(within time.Duration) bool {
	return time.Since(time.Unix(0, a.alive.Load())) < within
}

// start puts right what the time before left, and guards every known port.
func (a *Agent) start(ctx context.Context, d Datapath) {
	begun := time.Now()
	a.changes.Lock()
	defer a.changes.Unlock()
	a.alive.Store(begun.UnixNano())
	report := a.repair(ctx, d)
	p := a.look(ctx, d, true)
	if n := len(p.idle); n > 0 {
		report = append(report, fmt.Sprintf("%s adopted as found, with connections and counters", counted(n, "port")))
	}
	for _, j := range p.jobs {
		report = append(report, fmt.Sprintf("port %s %s: filter %s is put in force", j.port, p.reasons[j.port], j.want.policy.Filter))
	}
	p.carryOut(ctx)
	for _, j := range p.jobs {
		for _, note := range j.change.Notes {
			report = append(report, fmt.Sprintf("port %s: %s", j.port, note))
		}
	}
	if n := len(p.waiting); n > 0 {
		report = append(report, fmt.Sprintf("%s for devices that are not there", counted(n, "binding waits", "bindings wait")))
	}
	report = append(report, fmt.Sprintf("all looked after within %s", time.Since(begun).Round(time.Millisecond)))
	for _, line := range report {
		a.log.Info("start: " + line)
	}
	a.shared.Lock()
	a.shared.start = report
	a.shared.Unlock()
}

// repair finishes what was interrupted, in the state directory and at the ports,
// and tells what it found.
func (a *Agent) repair(ctx context.Context, d Datapath) (report []string) {
	err := a.store.Update(ctx, func(u *store.Update) error {
		err := u.Repair()
		for _, fault := range u.Aside() {
			report = append(report, fault.Error())
		}
		return err
	})
	a.setGeneral("state directory", err)
	if err != nil {
		report = append(report, fmt.Sprintf("nothing can be changed until it can be written: %v", err))
	}
	repaired, err := d.Repair(ctx)
	a.setGeneral("repair", err)
	for _, r := range repaired {
		report = append(report, fmt.Sprintf("port %s: an interrupted change had left %s: put right", r.Port, r.Found))
	}
	return report
}

// followSets keeps kernel sets up to date.
func (a *Agent) followSets(ctx context.Context, d Datapath) {
	ticker := time.NewTicker(setsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changes, err := d.RefreshSets(ctx, "")
		for _, c := range changes {
			switch {
			case c.Failed != "":
				err = errors.Join(err, fmt.Errorf("port %s: %s; it keeps its members", c.Port, c.Failed))
			case c.Changed:
				a.log.Info("kernel set changed", "port", c.Port, "set", c.Name, "members", c.Members, "added", c.Added, "removed", c.Removed, "fault", c.Fault)
			}
		}
		if ctx.Err() == nil {
			a.setGeneral("kernel sets", err)
		}
	}
}

// counted is a number of things; the second of two forms is for many.
func counted(n int, forms ...string) string {
	form := forms[0]
	if n != 1 {
		if form += "s"; len(forms) > 1 {
			form = forms[1]
		}
	}
	return fmt.Sprintf("%d %s", n, form)
}
