package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapgate/internal/agent"
	"tapgate/internal/datapath"
)

var (
	connectionsDesc = prometheus.NewDesc("tapgate_connections",
		"Connections of a port that are kept now.", []string{"port"}, nil)
	limitDesc = prometheus.NewDesc("tapgate_connections_limit",
		"Connections that a port may have (its quota).", []string{"port"}, nil)
	portFaultDesc = prometheus.NewDesc("tapgate_port_fault",
		"1 if a port does not enforce what it should; for port \"other\" the number of such ports.", []string{"port"}, nil)
	portUnguardedDesc = prometheus.NewDesc("tapgate_port_unguarded",
		"1 if a port is bound and its device is there, but not guarded; for port \"other\" the number of such ports.", []string{"port"}, nil)

	portLearningDesc = prometheus.NewDesc("tapgate_port_learning",
		"1 if a port waits for an address of its guest, and lets pass only what teaches it; for port \"other\" the number of such ports.", []string{"port"}, nil)

	portsDesc = prometheus.NewDesc("tapgate_ports",
		"Ports by state.", []string{"state"}, nil)
	unguardedDesc = prometheus.NewDesc("tapgate_unguarded_ports",
		"Ports that are bound and whose device is there, but that are not guarded.", nil, nil)
	leasesDesc = prometheus.NewDesc("tapgate_leases",
		"Addresses of guests that are in use, by what they were learned from.", []string{"source"}, nil)
	faultsDesc = prometheus.NewDesc("tapgate_faults",
		"What needs somebody's attention: ports that do not enforce what they should, what cannot be read of ports and bindings, and the daemon's own.", []string{"of"}, nil)
	readyDesc = prometheus.NewDesc("tapgate_ready",
		"1 once every known port was looked after.", nil, nil)
	tableDesc = prometheus.NewDesc("tapgate_host_connections",
		"Connections in the table that all ports share. Absent while no port is guarded.", nil, nil)
	tableLimitDesc = prometheus.NewDesc("tapgate_host_connections_limit",
		"Connections that the table has room for. Absent while no port is guarded.", nil, nil)

	scrapeErrorDesc = prometheus.NewDesc("tapgate_scrape_error",
		"1 if the ports could not be looked at; what is known of them is left out then.", nil, nil)
	scrapeErrorsDesc = prometheus.NewDesc("tapgate_scrape_errors_total",
		"Looks at the ports for a scrape that failed.", nil, nil)
	scrapeSecondsDesc = prometheus.NewDesc("tapgate_scrape_duration_seconds",
		"How long the look at the ports took that this answer tells of.", nil, nil)
)

// collector asks the source, one scrape at a time, and gives each answer again
// while it is fresh: however many scrape, and however often, the ports are
// looked at once a MaxAge at most.
type collector struct {
	options Options

	mu     sync.Mutex
	rows   *rows
	errors uint64
	at     time.Time // when the answer was made
	answer []prometheus.Metric
}

func newCollector(o Options) *collector {
	return &collector{options: o, rows: newRows(o.MaxPorts)}
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		packetsDesc, bytesDesc, droppedDesc, invalidDesc, openedDesc,
		connectionsDesc, limitDesc, portFaultDesc, portUnguardedDesc, portLearningDesc,
		portsDesc, unguardedDesc, leasesDesc, faultsDesc, readyDesc, tableDesc, tableLimitDesc,
		scrapeErrorDesc, scrapeErrorsDesc, scrapeSecondsDesc,
	} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.current() {
		ch <- m
	}
}

func (c *collector) current() []prometheus.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	begin := c.options.Now()
	if c.answer != nil && begin.Sub(c.at) < c.options.MaxAge {
		return c.answer
	}
	list, err := c.look()
	failed := 0.0
	if err != nil {
		c.errors++
		failed = 1
		c.options.Log.Error("metrics: the ports could not be looked at", "error", err)
	}
	c.at = c.options.Now()
	c.answer = append(list,
		gauge(scrapeErrorDesc, failed),
		prometheus.MustNewConstMetric(scrapeErrorsDesc, prometheus.CounterValue, float64(c.errors)),
		gauge(scrapeSecondsDesc, c.at.Sub(begin).Seconds()),
	)
	return c.answer
}

// look asks the source. With an error it gives what is known in spite of it.
func (c *collector) look() (list []prometheus.Metric, err error) {
	defer func() {
		if p := recover(); p != nil {
			list, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), c.options.Timeout)
	defer cancel()
	status := c.options.Source.Status(ctx)
	list = append(list, gauge(readyDesc, oneIf(isReady(status))))

	ports, faults, err := c.options.Source.Ports(ctx)
	if err != nil {
		return list, err
	}
	list = append(list, portMetrics(ports)...)
	list = append(list, faultMetrics(status, ports, len(faults))...)
	for _, row := range c.rows.of(ports) {
		list = append(list, row.metrics(row.port)...)
		list = append(list,
			gauge(connectionsDesc, float64(row.connections), row.port),
			gauge(limitDesc, float64(row.limit), row.port),
			gauge(portFaultDesc, float64(row.faults), row.port),
			gauge(portUnguardedDesc, float64(row.unguarded), row.port),
			gauge(portLearningDesc, float64(row.learning), row.port),
		)
	}
	leases, _, err := c.options.Source.Leases(ctx, "") // what cannot be read, Ports has told
	if err != nil {
		return list, err
	}
	list = append(list, leaseMetrics(leases)...)
	table, err := c.table(ctx, ports)
	if table != nil {
		list = append(list, gauge(tableDesc, float64(table.Used)), gauge(tableLimitDesc, float64(table.Size)))
	}
	return list, err
}

func isReady(s agent.Status) bool { return s.Daemon != nil && s.Daemon.Ready }

func portMetrics(ports []agent.Port) (list []prometheus.Metric) {
	in, unguarded := map[string]int{}, 0
	for i := range ports {
		in[nameState(ports[i].State).name]++
		if isUnguarded(&ports[i]) {
			unguarded++
		}
	}
	for _, s := range states {
		list = append(list, gauge(portsDesc, float64(in[s.name]), s.name))
	}
	return append(list, gauge(portsDesc, float64(in[other]), other), gauge(unguardedDesc, float64(unguarded)))
}

func leaseMetrics(leases []agent.Lease) (list []prometheus.Metric) {
	of := map[string]int{}
	for i := range leases {
		source := other
		if slices.Contains(sources, leases[i].Source) {
			source = string(leases[i].Source)
		}
		if leases[i].InUse {
			of[source]++
		}
	}
	for _, source := range sources {
		list = append(list, gauge(leasesDesc, float64(of[string(source)]), string(source)))
	}
	return append(list, gauge(leasesDesc, float64(of[other]), other))
}

func faultMetrics(status agent.Status, ports []agent.Port, unread int) []prometheus.Metric {
	failed, own := 0, 0
	for i := range ports {
		if ports[i].Fault != "" {
			failed++
		}
	}
	if status.Daemon != nil {
		own = len(status.Daemon.Faults)
	}
	return []prometheus.Metric{
		gauge(faultsDesc, float64(failed), "ports"),
		gauge(faultsDesc, float64(unread), "unread"),
		gauge(faultsDesc, float64(own), "daemon"),
	}
}

// table asks any guarded port for the table that all share.
func (c *collector) table(ctx context.Context, ports []agent.Port) (*datapath.TableUse, error) {
	for i := range ports {
		if ports[i].State != datapath.Guarded && ports[i].State != agent.LearningState {
			continue
		}
		stats, err := c.options.Source.Stats(ctx, ports[i].Name)
		if gone := (*datapath.NotGuardedError)(nil); errors.As(err, &gone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &stats.Table, nil
	}
	return nil, nil
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
