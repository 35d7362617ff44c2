package agent

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/learn"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// learnerSet are the learners of all ports.
type learnerSet struct {
	mu    sync.Mutex
	ports map[string]*learner
	// neighbours are all ports that are bound and there.
	neighbours map[string]neighbour
	// addresses are the host's own ones on a device.
	addresses func(index int) ([]netip.Addr, error)
	// taught are ports of which something was learned that is not kept yet, or not
	// in force.
	taught map[string]bool
	// wake has a word when there are such, due when the next moment at which a lease
	// ends may be another.
	wake, due chan struct{}
}

// learner is what is known of a port's guest.
type learner struct {
	// key is the name under which the leases are kept.
	key     string
	machine *learn.Port
	// memory is what was last kept of it in the kernel.
	memory []byte
	// held is what the guest sent while nothing was known, for the policy to come.
	held []heldFrame
	// since is when the policy was last changed for what was learned.
	since time.Time
}

type heldFrame struct {
	at    time.Time
	frame []byte
}

const (
	// holdFor is how long a frame waits for its policy at most: who sent it has sent
	// it again by then.
	holdFor = time.Second
	// holdFrames are held of a port at most.
	holdFrames = 16
)

func newLearners(addresses func(index int) ([]netip.Addr, error)) *learnerSet {
	if addresses == nil {
		addresses = device.Addresses
	}
	return &learnerSet{addresses: addresses, ports: map[string]*learner{}, neighbours: map[string]neighbour{}, taught: map[string]bool{}, wake: make(chan struct{}, 1), due: make(chan struct{}, 1)}
}

// tell puts a word into a channel that has room for one.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}

// leasesOf are the leases of a binding's guest, by address; ended ones too.
func (a *Agent) leasesOf(v *store.View, b *binding.Binding) ([]learn.Lease, error) {
	key := store.LeaseKey(b)
	a.learners.mu.Lock()
	l := a.learners.ports[b.Port]
	if l != nil && l.key == key {
		defer a.learners.mu.Unlock()
		return l.machine.Leases(), nil
	}
	a.learners.mu.Unlock()
	return v.Leases(key)
}

// known are those that have not ended.
func (a *Agent) known(v *store.View, b *binding.Binding, now time.Time) []learn.Lease {
	list, err := a.leasesOf(v, b)
	if err != nil {
		// It is learned anew: a port with fewer addresses passes less.
		a.log.Error("leases cannot be read", "port", b.Port, "fault", err)
	}
	return slices.DeleteFunc(list, func(l learn.Lease) bool { return l.Ended(now) })
}

// edit does to a port's machine what somebody has done to the leases that are kept.
func (ls *learnerSet) edit(g *guest, do edit) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.ports[g.Port]
	if l == nil || l.key != g.key {
		return
	}
	_ = do(l.machine) // it was possible a moment ago
	ls.note(g.Port, learn.Event{Changed: true})
}

// follow begins to learn what a port's policy needs, or ends it if that is nothing.
// A command does not stay to learn.
func (a *Agent) follow(d Datapath, w *wanted) {
	if a.daemon == nil {
		return
	}
	port, learning := w.binding.Port, w.policy.Learning
	a.learners.mu.Lock()
	defer a.learners.mu.Unlock()
	if learning == nil {
		delete(a.learners.ports, port)
		return
	}
	config := learning.Config
	config.Taken = func(address netip.Addr) bool { return a.learners.taken(port, address) }
	l := a.learners.ports[port]
	switch {
	case l != nil && l.key == store.LeaseKey(w.binding):
		l.machine.Configure(config)
		if !slices.Equal(learn.Texts(l.machine.Leases()), learn.Texts(w.leases)) {
			a.learners.note(port, learn.Event{Changed: true}) // some count no more, or came meanwhile
		}
	default:
		memory, err := d.Recall(port)
		var notGuarded *datapath.NotGuardedError
		if err != nil && !errors.As(err, &notGuarded) {
			a.log.Warn("what was remembered of a guest is lost", "port", port, "fault", err)
		}
		a.learners.ports[port] = &learner{
			key: store.LeaseKey(w.binding), memory: memory,
			machine: learn.New(config, w.leases, memory),
		}
		tell(a.learners.due)
	}
}

// unlearn ends learning at a port.
func (a *Agent) unlearn(port string) {
	a.learners.mu.Lock()
	defer a.learners.mu.Unlock()
	delete(a.learners.ports, port)
	delete(a.learners.neighbours, port)
}

// retryObserving is the time after which the ring is opened again.
const retryObserving = time.Second

// learn hears what ports' programs tell of guests until ctx ends.
func (a *Agent) learn(ctx context.Context, d Datapath) {
	for ctx.Err() == nil {
		for o, err := range d.Observe(ctx) {
			if a.setGeneral("learning addresses", err); err != nil {
				break
			}
			a.observed(ctx, d, &o)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryObserving):
		}
	}
}

// observed takes in one frame.
func (a *Agent) observed(ctx context.Context, d Datapath, o *datapath.Observation) {
	a.learners.mu.Lock()
	l := a.learners.ports[o.Port]
	if l == nil {
		a.learners.mu.Unlock()
		return
	}
	event := l.machine.Observe(o.Frame, o.Out, o.Passed, o.Time)
	a.learners.note(o.Port, event)
	remember := event.Remembered && l.remembers()
	memory := l.memory
	late := l.hold(o)
	a.learners.mu.Unlock()
	for _, note := range event.Notes {
		a.log.Info(note, "port", o.Port)
	}
	if remember {
		if err := d.Remember(o.Port, memory); err != nil {
			a.log.Warn("what is known of a guest's requests does not outlive the daemon", "port", o.Port, "fault", err)
		}
	}
	if late {
		a.putBack(ctx, d, o.Port, []heldFrame{{o.Time, o.Frame}})
	}
}

// note wakes who has to do with an event.
func (ls *learnerSet) note(port string, event learn.Event) {
	if event.Changed || event.Renewed {
		ls.taught[port] = true
		tell(ls.wake)
		tell(ls.due)
	}
}

// remembers tells whether there is anything new to keep.
func (l *learner) remembers() bool {
	memory := l.machine.Memory()
	if bytes.Equal(memory, l.memory) {
		return false
	}
	l.memory = memory
	return true
}

// hold keeps what the guest sent and was dropped, for the policy to come. It is late
// if that policy is there already: the program dropped it just before.
func (l *learner) hold(o *datapath.Observation) (late bool) {
	if !o.Out || o.Passed || len(o.Frame) != o.Length {
		return false
	}
	if o.Time.Before(l.since) {
		return true
	}
	if len(l.held) == holdFrames {
		l.held = slices.Delete(l.held, 0, 1)
	}
	l.held = append(l.held, heldFrame{o.Time, o.Frame})
	return false
}

// teach keeps what was learned, and puts it in force.
func (a *Agent) teach(ctx context.Context, d Datapath) {
	ports := a.learners.take()
	if len(ports) == 0 {
		return
	}
	a.changes.Lock()
	defer a.changes.Unlock()
	a.keepLeases(ctx, ports)
	p := a.look(ctx, d, false, ports...)
	p.what = "what was learned of its guest"
	p.carryOut(ctx)
	for _, j := range p.jobs {
		if j.err == nil {
			a.log.Info("addresses of the guest", "port", j.port, "known", learn.Texts(j.want.leases), "waiting", j.want.waitsFor())
			a.putBack(ctx, d, j.port, a.learners.release(j.port))
		}
	}
}

// take gives the ports that something was learned of.
func (ls *learnerSet) take() (ports []string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for port := range ls.taught {
		ports = append(ports, port)
	}
	clear(ls.taught)
	return ports
}

// keepLeases stores the leases of ports. What cannot be stored is in force all the
// same, as long as the daemon lives.
func (a *Agent) keepLeases(ctx context.Context, ports []string) {
	a.setGeneral("leases", a.store.Update(ctx, func(u *store.Update) error {
		var faults []error
		for _, port := range ports {
			a.learners.mu.Lock()
			l := a.learners.ports[port]
			var leases []learn.Lease
			if l != nil {
				leases = l.machine.Leases()
			}
			a.learners.mu.Unlock()
			if l != nil {
				faults = append(faults, u.KeepLeases(l.key, leases))
			}
		}
		return errors.Join(faults...)
	}))
}

// release gives what is held of a port whose policy is there now.
func (ls *learnerSet) release(port string) (held []heldFrame) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.ports[port]; l != nil {
		held, l.held, l.since = l.held, nil, time.Now()
	}
	return held
}

// putBack makes frames appear as if the guest had sent them just now.
func (a *Agent) putBack(ctx context.Context, d Datapath, port string, held []heldFrame) {
	for _, h := range held {
		if time.Since(h.at) > holdFor {
			continue
		}
		if err := d.Inject(ctx, port, h.frame, true); err != nil {
			a.log.Warn("what the guest sent meanwhile is lost", "port", port, "fault", err)
			return
		}
	}
}

// expire ends leases whose time has come until ctx ends.
func (a *Agent) expire(ctx context.Context) {
	for {
		var timer <-chan time.Time
		if next := a.learners.next(); !next.IsZero() {
			timer = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-a.learners.due:
			continue
		case <-timer:
		}
		a.expireAt(time.Now())
	}
}

func (a *Agent) expireAt(now time.Time) {
	a.learners.mu.Lock()
	defer a.learners.mu.Unlock()
	for port, l := range a.learners.ports {
		if next := l.machine.Next(); next.IsZero() || next.After(now) {
			continue
		}
		event := l.machine.Expire(now)
		a.learners.note(port, event)
		for _, note := range event.Notes {
			a.log.Info(note, "port", port)
		}
	}
}

// next is when the next lease ends; zero for never.
func (ls *learnerSet) next() (next time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.ports {
		if at := l.machine.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}
