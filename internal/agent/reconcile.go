package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/gate"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// pass is one look at ports, and what is to be done at them. It asks only how
// things are, never how they came to be so: an event more or less makes no
// difference, and a second pass finds nothing to do.
type pass struct {
	transaction
	// all is set for a look at everything, else names are the ports that are
	// looked at.
	all      bool
	names    []string
	taught   []string
	devices  map[string]device.Device
	bindings map[string]*binding.Binding
	reasons  map[string]string
	// waiting are bindings without a device, gone ports whose device is no more,
	// idle those that enforce what they should.
	waiting, gone, idle []string
	// failed is why nothing could be found out.
	failed error
	// vanished are the indices of devices that are no more.
	vanished []int
}

// pass looks at all ports, or at those whose devices are others than before, and
// makes them enforce what they should. Nothing that fails stops the rest.
func (a *Agent) pass(ctx context.Context, d Datapath, all bool) {
	a.changes.Lock()
	defer a.changes.Unlock()
	begun := time.Now()
	p := a.look(ctx, d, all)
	for _, j := range p.jobs {
		a.log.Info("port "+p.reasons[j.port], "port", j.port, "filter", j.want.policy.Filter)
	}
	p.carryOut(ctx)
	if all {
		a.events.Reconciled(begun, time.Since(begun), p.failed)
	}
}

// look finds out what is to be done, and at which ports: all of them, or those
// whose devices are others than before, and those of which something was learned.
func (a *Agent) look(ctx context.Context, d Datapath, all bool, taught ...string) *pass {
	p := &pass{all: all, taught: taught, transaction: transaction{Agent: a, what: "what is wanted", datapath: d, standing: map[string]*datapath.Port{}}, reasons: map[string]string{}}
	devices, err := a.devices()
	a.setGeneral("devices", err)
	if p.failed = err; err != nil {
		return p
	}
	p.devices = devices
	changed := differing(a.devicesSeen, devices)
	changed.names = append(changed.names, taught...)
	if all || changed.renamed {
		moved, err := d.Follow(ctx, devices)
		a.setGeneral("renamed devices", err)
		for _, m := range moved {
			a.log.Info("guarded device renamed", "from", m.From, "to", m.To)
			changed.names = append(changed.names, m.From, m.To)
		}
	}
	p.vanished, a.devicesSeen = changed.vanished, devices
	if !all {
		slices.Sort(changed.names)
		if p.names = slices.Compact(changed.names); len(p.names) == 0 {
			return p // an event about something else
		}
	}
	p.failed = a.store.View(ctx, func(v *store.View) error { return p.plan(ctx, v) })
	a.setGeneral("what is wanted", p.failed)
	return p
}

// differences are between the devices that there were and that there are.
type differences struct {
	// names stand for another device, or for one where there was none, or for none
	// where there was one.
	names    []string
	vanished []int
	renamed  bool
}

func differing(before, now map[string]device.Device) (d differences) {
	indices := map[int]bool{}
	for name, dev := range now {
		indices[dev.Index] = true
		if before[name] != dev {
			d.names = append(d.names, name)
		}
	}
	for name, dev := range before {
		if _, there := now[name]; !there {
			d.names = append(d.names, name)
		}
		if !indices[dev.Index] {
			d.vanished = append(d.vanished, dev.Index)
		} else if now[name].Index != dev.Index {
			d.renamed = true
		}
	}
	return d
}

func (p *pass) plan(ctx context.Context, v *store.View) error {
	if err := p.readBindings(v); err != nil {
		return err
	}
	ports, err := p.datapath.Survey(ctx, p.names...)
	if err != nil {
		return err
	}
	for i := range ports {
		p.standing[ports[i].Name] = &ports[i]
	}
	names := map[string]bool{}
	for name := range p.standing {
		names[name] = true
	}
	for name := range p.bindings {
		names[name] = true
	}
	r, err := p.resolver(v, nil)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p.planPort(r, name)
	}
	return nil
}

// readBindings reads what is bound, and what the default filter covers.
func (p *pass) readBindings(v *store.View) error {
	p.bindings = map[string]*binding.Binding{}
	names := p.names
	if p.all {
		list, unreadable, err := v.Bindings()
		if err != nil {
			return err
		}
		p.setGeneral("stored bindings", errors.Join(unreadable...))
		for _, b := range list {
			p.bindings[b.Port] = b
		}
		names = slices.Collect(maps.Keys(p.devices))
	}
	for _, name := range names {
		if !p.all {
			b, err := v.Binding(name)
			if err != nil && !isNotFound(err) {
				p.setFault(name, err.Error())
			}
			if err == nil {
				p.bindings[name] = b
			}
		}
		if _, there := p.devices[name]; there && p.bindings[name] == nil && p.defaultFilter().covers(name) {
			p.bindings[name] = p.defaultFilter().binding(name)
		}
	}
	return nil
}

// planPort finds out what is to be done at one port.
func (p *pass) planPort(r *resolver, name string) {
	b, now := p.bindings[name], p.standing[name]
	dev, there := p.devices[name]
	if !there && now != nil && now.State == datapath.DeviceGone {
		p.gone = append(p.gone, name)
	}
	switch {
	case !there && b != nil:
		p.unlearn(name)
		p.waiting = append(p.waiting, name)
		p.setFault(name, "")
		return
	case !there || b == nil:
		// Guarded without a binding of its own: it was renamed, or bound from
		// another state directory. It keeps what it has: nothing is opened unasked.
		return
	}
	p.learners.meet(b, dev)
	want, err := r.want(b)
	if err != nil {
		p.settled = append(p.settled, PortChange{Port: name, Result: PortFailed, Detail: err.Error()})
		return
	}
	reason := why(now, dev, want)
	if reason == otherPolicy && slices.Contains(p.taught, name) {
		reason = "has other addresses"
	}
	if reason == "" {
		p.follow(p.datapath, want)
		p.idle = append(p.idle, name)
		p.setFault(name, "")
		return
	}
	p.reasons[name] = reason
	p.jobs = append(p.jobs, &job{port: name, want: want})
}

const otherPolicy = "enforced something else"

// why says what a port lacks; "" if it enforces what it should.
func why(now *datapath.Port, dev device.Device, want *wanted) string {
	switch {
	case now == nil:
		return "was not guarded"
	case now.State != datapath.Guarded:
		return "was " + string(now.State)
	case now.Ifindex != dev.Index:
		return "has another device"
	case now.Digest != want.meta.Digest:
		return otherPolicy
	case now.Outdated:
		return "had programs of another version"
	}
	return ""
}

// carryOut does what was found to be done.
func (p *pass) carryOut(ctx context.Context) {
	if p.failed != nil || !p.all && len(p.names) == 0 {
		return // nothing is known, or nothing changed: all stays as it is
	}
	p.forgetGone(ctx)
	// Shut first: a port's policy takes some milliseconds each, and they may be
	// many.
	for _, j := range p.jobs {
		if !inForce(p.standing[j.port]) {
			_ = p.datapath.Shut(ctx, j.port, false)
		}
	}
	// Each is put in force as soon as it is made ready: while one waits for the
	// kernel, others are made.
	making := make(chan struct{}, prepareAtOnce)
	p.each(ctx, commitAtOnce, func(j *job) {
		making <- struct{}{}
		j.prepare(ctx, p.datapath)
		<-making
		if j.err == nil {
			p.commit(context.WithoutCancel(ctx), j)
		}
	})
	guarded := slices.Clone(p.idle)
	for _, j := range p.jobs {
		switch {
		case j.err == nil:
			guarded = append(guarded, j.port)
			p.note(j)
		case isMissing(j.err): // it is gone already, which the next pass sees
		default:
			p.settled = append(p.settled, PortChange{Port: j.port, Result: PortFailed, Detail: j.err.Error()})
		}
	}
	for _, failure := range p.settled {
		if ctx.Err() == nil && p.makeSafe(ctx, failure.Port, failure.Detail) {
			guarded = append(guarded, failure.Port)
		}
	}
	p.admit(guarded)
	p.remember()
}

// makeSafe sees to a port that cannot enforce what it should, and reports it. It
// tells whether nothing gets through that should not.
func (p *pass) makeSafe(ctx context.Context, name, fault string) bool {
	dev := p.devices[name]
	if inForce(p.standing[name]) {
		p.setFault(name, fault+"; it keeps what it enforces, filter "+p.standing[name].Filter)
		return true
	}
	if err := p.datapath.Shut(ctx, name, false); err != nil && !isMissing(err) {
		p.setFault(name, fmt.Sprintf("%s; it is OPEN, since it could not be shut: %v", fault, err))
		p.setDown(dev)
		return false
	}
	p.setFault(name, fault+"; it is shut: nothing passes")
	p.setDown(dev)
	return true
}

// setDown takes a device out of service if that was asked for.
func (p *pass) setDown(dev device.Device) {
	if !p.daemon.SetDown || dev.Index == 0 {
		return
	}
	if err := dev.SetDown(); err != nil {
		p.log.Error("cannot set down a device that cannot be guarded", "port", dev.Name, "fault", err)
		return
	}
	p.log.Warn("set down, since it cannot be guarded", "port", dev.Name)
}

// forgetAtOnce ports are forgotten at a time: each waits for the kernel, which they
// do together, and frees its programs, of which too many at once are bad
// (ARCHITECTURE.md, "Ideal and reality").
const forgetAtOnce = 32

// forgetGone removes what is pinned of ports whose device is gone: if it comes
// again, it is another guest's, or the same one's that begins anew.
func (p *pass) forgetGone(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(forgetAtOnce)
	for _, name := range p.gone {
		group.Go(func() error {
			if err := p.datapath.Release(ctx, name); err != nil {
				p.log.Error("cannot clear away what a device left", "port", name, "fault", err)
			} else {
				p.log.Info("device gone", "port", name, "bound", p.bindings[name] != nil)
			}
			p.alive.Store(time.Now().UnixNano())
			return nil
		})
	}
	_ = group.Wait()
}

// admit opens the gate for devices that are guarded or shut, and forgets those
// that are no more: their indices may be given again.
func (p *pass) admit(safe []string) {
	g := p.daemon.Gate
	if g == nil || p.devices == nil {
		return
	}
	var indices []int
	for _, name := range safe {
		if dev, there := p.devices[name]; there && p.daemon.Default.covers(name) {
			indices = append(indices, dev.Index)
		}
	}
	if p.all {
		p.setGeneral("gate", g.SetAdmitted(indices))
		return
	}
	var faults []error
	for _, index := range p.vanished {
		faults = append(faults, g.Shut(index))
	}
	for _, index := range indices {
		if err := g.Admit(index); !errors.Is(err, gate.ErrNoDevice) {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		p.setGeneral("gate", err)
	}
}
