// Package metrics tells Prometheus how the host's ports fare. It has a registry
// of its own and asks an agent when it is asked itself; nothing is counted here
// but what the daemon reports of its own work (Events).
package metrics

import (
	"cmp"
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tapgate/internal/agent"
)

// Source is what is needed of an agent.Service.
type Source interface {
	Status(ctx context.Context) agent.Status
	Ports(ctx context.Context) (list []agent.Port, faults []error, err error)
	Stats(ctx context.Context, port string) (*agent.Stats, error)
	Leases(ctx context.Context, port string) (list []agent.Lease, faults []error, err error)
}

var _ Source = agent.Service(nil)

// Options say what is told of. Only Source is needed.
type Options struct {
	Source Source
	// Events that the daemon reports, if it does.
	Events *Events
	// MaxPorts have series of their own, 1000 if it is 0; the rest is summed up
	// as port "other".
	MaxPorts int
	// MaxAge is how old an answer may be that is given again, 1 s if it is 0.
	MaxAge time.Duration
	// Timeout bounds a look at the ports, 8 s if it is 0: less than the 10 s that
	// Prometheus waits.
	Timeout time.Duration
	// Version and Revision of the program.
	Version, Revision string
	// Healthy tells whether the daemon's loop is alive; nil if nobody knows.
	Healthy func() bool
	// Log is told why something could not be told; nil for nobody.
	Log *slog.Logger
	// Now is the clock, time.Now if it is nil.
	Now func() time.Time
}

// Metrics are all that can be scraped.
type Metrics struct {
	options  Options
	registry *prometheus.Registry
}

// New makes the registry. It asks the source for nothing yet.
func New(o Options) *Metrics {
	o.MaxPorts = cmp.Or(o.MaxPorts, 1000)
	o.MaxAge = cmp.Or(o.MaxAge, time.Second)
	o.Timeout = cmp.Or(o.Timeout, 8*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{options: o, registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		newCollector(o),
		buildInfo(o.Version, o.Revision),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if o.Events != nil {
		m.registry.MustRegister(o.Events)
	}
	return m
}

func buildInfo(version, revision string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "tapgate_build_info",
		Help:        "1, with the version, the revision it was built from and the version of Go.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
