// Package agent is the heart of Tapgate: it knows what is wanted (the stored
// filters, bindings and settings), what devices there are, and what each port
// enforces, and makes the last follow from the first two. A command runs it for
// one call, the daemon for as long as the host is up: it is the same code.
package agent

import (
	"context"
	"iter"
	"log/slog"
	"sync"

	"tapgate/internal/datapath"
	"tapgate/internal/policy"
	"tapgate/internal/store"
)

// Datapath is what the agent needs of *datapath.Host.
type Datapath interface {
	Prepare(ctx context.Context, port string, p *policy.Policy, meta datapath.Meta) (Prepared, error)
	Release(ctx context.Context, port string) error
	Ports(ctx context.Context) ([]datapath.Port, error)
	Stats(ctx context.Context, port string) (*datapath.Stats, error)
	Connections(ctx context.Context, port string) iter.Seq2[*datapath.Connection, error]
	Expectations(ctx context.Context, port string) iter.Seq2[*datapath.Expectation, error]
	Flush(ctx context.Context, port string, match func(*datapath.Connection) bool) (int, error)
	RefreshSets(ctx context.Context, port string) ([]datapath.SetChange, error)
	Watch(ctx context.Context, options datapath.WatchOptions) iter.Seq2[datapath.Notice, error]
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
	// Log is told what happens; nil for nobody.
	Log *slog.Logger
}

// Agent is safe for concurrent use.
type Agent struct {
	store *store.Store
	log   *slog.Logger
	open  func() (Datapath, error)

	// changes is held while ports are changed.
	changes sync.Mutex
}

// New makes an agent that does nothing by itself.
func New(o Options) *Agent {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Agent{store: o.Store, log: log, open: sync.OnceValues(o.Open)}
}
