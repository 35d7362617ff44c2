// Package agent is the heart of Tapgate: it knows what is wanted (the stored
// filters, bindings and settings), what devices there are, and what each port
// enforces, and makes the last follow from the first two. A command runs it for
// one call, the daemon for as long as the host is up: it is the same code.
package agent

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/policy"
	"tapgate/internal/store"
)

// Datapath is what the agent needs of *datapath.Host, whose methods say more.
type Datapath interface {
	Prepare(ctx context.Context, port string, p *policy.Policy, meta datapath.Meta) (Prepared, error)
	Shut(ctx context.Context, port string, replace bool) error
	Release(ctx context.Context, port string) error
	Follow(ctx context.Context, devices map[string]device.Device) ([]datapath.Moved, error)
	Repair(ctx context.Context) ([]datapath.Repaired, error)
	Survey(ctx context.Context, ports ...string) ([]datapath.Port, error)
	Ports(ctx context.Context) ([]datapath.Port, error)
	Stats(ctx context.Context, port string) (*datapath.Stats, error)
	Connections(ctx context.Context, port string) iter.Seq2[*datapath.Connection, error]
	Expectations(ctx context.Context, port string) iter.Seq2[*datapath.Expectation, error]
	Flush(ctx context.Context, port string, match func(*datapath.Connection) bool) (int, error)
	RefreshSets(ctx context.Context, port string) ([]datapath.SetChange, error)
	Watch(ctx context.Context, options datapath.WatchOptions) iter.Seq2[datapath.Notice, error]
	Observe(ctx context.Context) iter.Seq2[datapath.Observation, error]
	Inject(ctx context.Context, port string, frame []byte, out bool) error
	Remember(port string, memory []byte) error
	Recall(port string) ([]byte, error)
}

// Prepared is a policy that is loaded for a port and not in force yet.
type Prepared interface {
	// Commit puts it in force.
	Commit(ctx context.Context) (datapath.Change, error)
	// Discard forgets it.
	Discard() error
}

// Options say what an agent works on.
type Options struct {
	Store *store.Store
	// Open opens the datapath. It is called when something needs it: much can be
	// asked without rights.
	Open func() (Datapath, error)
	// Devices lists what network devices there are; device.List if nil.
	Devices func() (map[string]device.Device, error)
	// Addresses are the host's own ones on a device; device.Addresses if nil.
	Addresses func(index int) ([]netip.Addr, error)
	// Log is told what happens; nobody is if it is nil.
	Log *slog.Logger
	// Daemon is set for an agent that Run keeps going.
	Daemon *DaemonOptions
	// Events are told of the agent's work; nil for nobody.
	Events Events
	// About is what Status tells of the program and where it works.
	About Status
}

// Events counts what an agent does.
type Events interface {
	PortChanged(result PortResult, took time.Duration)
	// Reconciled is called after each full look.
	Reconciled(at time.Time, took time.Duration, err error)
}

// nobody hears of events.
type nobody struct{}

func (nobody) PortChanged(PortResult, time.Duration)      {}
func (nobody) Reconciled(time.Time, time.Duration, error) {}

// Agent is safe for concurrent use.
type Agent struct {
	store   *store.Store
	log     *slog.Logger
	open    func() (Datapath, error)
	devices func() (map[string]device.Device, error)
	about   Status
	events  Events
	// daemon is nil for a command's agent.
	daemon *DaemonOptions
	since  time.Time
	ready  atomic.Bool
	// alive is when Run last went round, or a port was changed, in nanoseconds of
	// Unix time.
	alive atomic.Int64

	// asked is who wants a full look.
	asked chan struct{}

	// changes is held by who changes ports or what is wanted of them.
	changes sync.Mutex
	// devicesSeen are the devices that the last look found.
	devicesSeen map[string]device.Device
	learners    *learnerSet
	// shared is what others may read meanwhile.
	shared struct {
		sync.Mutex
		// faults say of ports why they do not enforce what they should.
		faults map[string]string
		// general are faults that are no port's, by what failed; "" for none any
		// more.
		general map[string]string
		// states of ports, as they were found or made.
		states map[string]datapath.State
		start  []string
	}
}

var _ Service = (*Agent)(nil)

// New makes an agent. It does nothing by itself before Run.
func New(o Options) *Agent {
	a := &Agent{store: o.Store, log: o.Log, devices: o.Devices, about: o.About, daemon: o.Daemon, since: time.Now(), open: retried(o.Open), learners: newLearners(o.Addresses)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.events = o.Events; a.events == nil {
		a.events = nobody{}
	}
	// One word more is one look that is still to come.
	a.asked = make(chan struct{}, 1)
	if a.devices == nil {
		a.devices = device.List
	}
	a.shared.faults, a.shared.general, a.shared.states = map[string]string{}, map[string]string{}, map[string]datapath.State{}
	return a
}

// retried opens once; what fails is tried again by who needs it next.
func retried(open func() (Datapath, error)) func() (Datapath, error) {
	var mu sync.Mutex
	var opened Datapath
	return func() (Datapath, error) {
		mu.Lock()
		defer mu.Unlock()
		if opened != nil {
			return opened, nil
		}
		d, err := open()
		if err == nil {
			opened = d
		}
		return d, err
	}
}

// update changes what is stored in somebody's name, and tells what had to be set
// aside.
func (a *Agent) update(ctx context.Context, by store.Actor, fn func(*store.Update) error) (notes []string, err error) {
	a.changes.Lock()
	defer a.changes.Unlock()
	err = a.store.As(by).Update(ctx, func(u *store.Update) error {
		err := fn(u)
		for _, fault := range u.Aside() {
			a.log.Error("set aside", "fault", fault)
			notes = append(notes, fault.Error())
		}
		return err
	})
	return notes, err
}

// host adapts *datapath.Host.
type host struct{ *datapath.Host }

// Use makes a Datapath of a host.
func Use(h *datapath.Host) Datapath { return host{h} }

func (h host) Prepare(ctx context.Context, port string, p *policy.Policy, meta datapath.Meta) (Prepared, error) {
	prepared, err := h.Host.Prepare(ctx, port, p, meta)
	if err != nil {
		return nil, err // no *datapath.Prepared that is nil
	}
	return prepared, nil
}

// isMissing tells whether an error says that there is no such device.
func isMissing(err error) bool {
	var missing *device.NotFoundError
	return errors.As(err, &missing)
}
