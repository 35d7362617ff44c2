package agent

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tapgate/internal/datapath"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// transaction changes ports: all are made ready first, and only if all could be
// is any of them changed.
type transaction struct {
	*Agent
	what     string
	datapath Datapath
	standing map[string]*datapath.Port
	jobs     []*job
	// settled are the ports with which nothing needs to be done.
	settled []PortChange
}

// job is what is to be done at one port.
type job struct {
	port     string
	want     *wanted
	prepared Prepared
	took     time.Duration
	// waiting is set if there is no device.
	waiting bool
	done    bool
	change  datapath.Change
	err     error
}

// plan works out what every port whose filter leads accepts is to enforce with
// the next filters. It fails with *RefusedError if one of them cannot be worked
// out that could before.
func (a *Agent) plan(ctx context.Context, v *store.View, what string, next map[string]*nwfilter.Filter, leads func(filter string) bool) (*transaction, error) {
	after, err := a.resolver(v, next)
	if err != nil {
		return nil, err
	}
	return a.planWith(ctx, v, what, after, leads)
}

// planSettings is plan for all ports with other settings of the host.
func (a *Agent) planSettings(ctx context.Context, v *store.View, host settings.Given) (*transaction, error) {
	after := a.resolverWith(v, host, nil)
	return a.planWith(ctx, v, "the host's settings", after, func(string) bool { return true })
}

func (a *Agent) planWith(ctx context.Context, v *store.View, what string, after *resolver, leads func(filter string) bool) (*transaction, error) {
	t := &transaction{Agent: a, what: what}
	bindings, err := a.concerned(v, leads)
	if err != nil || len(bindings) == 0 {
		return t, err
	}
	before, err := a.resolver(v, nil)
	if err != nil {
		return nil, err
	}
	if err := t.look(ctx, bindings); err != nil {
		return nil, err
	}
	var refused []PortChange
	for _, b := range bindings {
		want, err := after.want(b)
		if err == nil {
			t.add(b.Port, want)
			continue
		}
		fault := PortChange{Port: b.Port, Result: PortFailed, Detail: err.Error()}
		if _, failed := before.want(b); failed != nil {
			// It is no worse than it was, and no reason to hold up the others.
			t.settled = append(t.settled, fault)
			continue
		}
		refused = append(refused, fault)
	}
	return t, t.refuse(refused)
}

// concerned are the bindings whose filters lead accepts, and what the default
// filter comes down to at devices that have none.
func (a *Agent) concerned(v *store.View, leads func(filter string) bool) ([]*binding.Binding, error) {
	bindings, _, err := v.Bindings()
	if err != nil {
		return nil, err
	}
	bound := map[string]bool{}
	for _, b := range bindings {
		bound[b.Port] = true
	}
	bindings = slices.DeleteFunc(bindings, func(b *binding.Binding) bool { return !leads(b.Filter) })
	if d := a.defaultFilter(); d != nil && leads(d.Filter) {
		for name := range a.devicesSeen {
			if d.covers(name) && !bound[name] {
				bindings = append(bindings, d.binding(name))
			}
		}
	}
	return bindings, nil
}

// look finds out how the ports stand. Where there is nothing to enforce, the
// datapath is not asked.
func (t *transaction) look(ctx context.Context, bindings []*binding.Binding) (err error) {
	if t.datapath, err = t.open(); err != nil {
		return err
	}
	names := make([]string, len(bindings))
	for i, b := range bindings {
		names[i] = b.Port
	}
	var group errgroup.Group
	var mu sync.Mutex
	t.standing = map[string]*datapath.Port{}
	for some := range slices.Chunk(names, 1+len(names)/prepareAtOnce) {
		group.Go(func() error {
			ports, err := t.datapath.Survey(ctx, some...)
			mu.Lock()
			defer mu.Unlock()
			for i := range ports {
				t.standing[ports[i].Name] = &ports[i]
			}
			return err
		})
	}
	return group.Wait()
}

// add plans a port, unless it enforces the same already. A command's agent leaves
// alone what is not guarded: it would surprise who only changes a filter.
func (t *transaction) add(port string, want *wanted) {
	now := t.standing[port]
	switch {
	case inForce(now) && now.Digest == want.meta.Digest && !now.Outdated && now.State == datapath.Guarded:
		t.settled = append(t.settled, PortChange{Port: port, Result: PortUnchanged})
	case t.daemon == nil && !inForce(now):
		t.settled = append(t.settled, PortChange{Port: port, Result: PortSkipped, Detail: "it is not guarded now; it has this once it is bound"})
	default:
		t.jobs = append(t.jobs, &job{port: port, want: want})
	}
}

// inForce tells whether a policy is in force at a port; p may be nil.
func inForce(p *datapath.Port) bool {
	return p != nil && (p.State == datapath.Guarded || p.State == datapath.HalfSwapped)
}

func (t *transaction) refuse(ports []PortChange) error {
	if len(ports) == 0 {
		return nil
	}
	slices.SortFunc(ports, byPort)
	return &RefusedError{What: t.what, Ports: ports}
}

func byPort(a, b PortChange) int { return cmp.Compare(a.Port, b.Port) }

// prepareAtOnce ports are made ready at a time: it takes the processor.
var prepareAtOnce = 2 * runtime.GOMAXPROCS(0)

// commitAtOnce ports are changed at a time: it is mostly waiting for the kernel,
// which they do together. Their former programs are freed at once afterwards, and
// 1,024 of those are too many (ARCHITECTURE.md, "Ideal and reality").
const commitAtOnce = 128

// prepare makes all ports ready. If one cannot take its policy, all is as before,
// and the error is *RefusedError.
func (t *transaction) prepare(ctx context.Context) error {
	t.each(ctx, prepareAtOnce, func(j *job) {
		if j.prepared == nil && !j.waiting {
			j.prepare(ctx, t.datapath)
		}
	})
	if err := ctx.Err(); err != nil {
		t.discard()
		return err
	}
	var refused []PortChange
	for _, j := range t.jobs {
		switch {
		case j.err == nil:
		case isMissing(j.err) && t.daemon != nil:
			j.err, j.waiting = nil, true
		default:
			refused = append(refused, PortChange{Port: j.port, Result: PortFailed, Detail: j.err.Error()})
		}
	}
	if len(refused) > 0 {
		t.discard()
	}
	return t.refuse(refused)
}

func (j *job) prepare(ctx context.Context, d Datapath) {
	start := time.Now()
	j.prepared, j.err = d.Prepare(ctx, j.port, j.want.policy, j.want.meta)
	j.took += time.Since(start)
}

// commit puts what was prepared in force. What is to be learned there is learned from
// the first packet on.
func (t *transaction) commit(ctx context.Context, j *job) {
	t.follow(t.datapath, j.want)
	start := time.Now()
	j.done = true
	j.change, j.err = j.prepared.Commit(ctx)
	j.took += time.Since(start)
}

// each calls fn for all jobs that are not settled, so many at a time.
func (t *transaction) each(ctx context.Context, atOnce int, fn func(*job)) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, j := range t.jobs {
		group.Go(func() error {
			if ctx.Err() == nil || j.prepared != nil {
				fn(j)
			}
			t.alive.Store(time.Now().UnixNano())
			return nil
		})
	}
	_ = group.Wait()
}

// enforce puts what was prepared in force, at one port after the other; nil if
// there is nothing to do. A port that fails now is told in changes.
func (t *transaction) enforce(ctx context.Context) func() error {
	if len(t.jobs) == 0 {
		return nil
	}
	return func() error {
		// What is begun is finished.
		ctx := context.WithoutCancel(ctx)
		t.each(ctx, commitAtOnce, func(j *job) {
			if j.prepared != nil && j.err == nil {
				t.commit(ctx, j)
				t.note(j)
			}
		})
		return nil
	}
}

// note remembers and logs what became of a port.
func (t *transaction) note(j *job) {
	if j.err != nil {
		t.events.PortChanged(PortFailed, j.took)
		t.setFault(j.port, j.err.Error())
		return
	}
	t.events.PortChanged(PortUpdated, j.took)
	t.setFault(j.port, "")
	t.setState(j.port, j.want.state())
	for _, note := range j.change.Notes {
		t.log.Warn(note, "port", j.port)
	}
	t.log.Info("port updated", "port", j.port, "filter", j.want.policy.Filter, "because", t.what, "took", j.took)
}

// discard forgets what was prepared and is not in force.
func (t *transaction) discard() {
	for _, j := range t.jobs {
		if j.prepared == nil || j.done {
			continue
		}
		if err := j.prepared.Discard(); err != nil {
			t.log.Error("cannot clear away what was prepared", "port", j.port, "fault", err)
		}
		j.done = true
	}
}

// changes tells what became of each port.
func (t *transaction) changes() []PortChange {
	list := slices.Clone(t.settled)
	for _, j := range t.jobs {
		c := PortChange{Port: j.port, Result: PortUpdated, Notes: j.change.Notes, Milliseconds: milliseconds(j.took)}
		switch {
		case j.waiting:
			c = PortChange{Port: j.port, Result: PortWaiting}
		case j.err != nil:
			c.Result, c.Detail = PortFailed, j.err.Error()
		}
		list = append(list, c)
	}
	slices.SortFunc(list, byPort)
	return list
}

// planned tells what would become of each port.
func (t *transaction) planned() []PortChange {
	list := t.changes()
	for i := range list {
		if list[i].Result == PortUpdated {
			list[i] = PortChange{Port: list[i].Port, Result: PortPlanned}
		}
	}
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// forget leaves a port to somebody else.
func (t *transaction) forget(port string) {
	t.jobs = slices.DeleteFunc(t.jobs, func(j *job) bool { return j.port == port })
	t.settled = slices.DeleteFunc(t.settled, func(c PortChange) bool { return c.Port == port })
}

// changesBeside are the changes of all ports but one.
func (t *transaction) changesBeside(port string) []PortChange {
	return slices.DeleteFunc(t.changes(), func(c PortChange) bool { return c.Port == port })
}

var errNoDaemon = errors.New("only the daemon (\"tapgate daemon\") waits for a device that is not there yet")
