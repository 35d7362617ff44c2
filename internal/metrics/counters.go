package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
)

var (
	packetsDesc = prometheus.NewDesc("tapgate_packets_total",
		"Packets of a port, by direction as the guest sees it (out: it sends) and fate.", []string{"port", "direction", "fate"}, nil)
	bytesDesc = prometheus.NewDesc("tapgate_bytes_total",
		"Bytes of a port's packets, by direction and fate.", []string{"port", "direction", "fate"}, nil)
	droppedDesc = prometheus.NewDesc("tapgate_dropped_packets_total",
		"Packets that a port dropped, by direction and reason.", []string{"port", "direction", "reason"}, nil)
	invalidDesc = prometheus.NewDesc("tapgate_invalid_packets_total",
		"Packets of a port in the state INVALID, passed or dropped, by direction and cause.", []string{"port", "direction", "cause"}, nil)
	observedDesc = prometheus.NewDesc("tapgate_observed_frames_total",
		"Frames of a port that may teach its guest's addresses, by kind (in, out: messages; claim) and result (told; limited: beyond the limit; lost: no room).", []string{"port", "kind", "result"}, nil)
	openedDesc = prometheus.NewDesc("tapgate_connections_opened_total",
		"Connections that were opened through a port.", []string{"port"}, nil)
)

// A counter is one series of each port.
type counter struct {
	desc   *prometheus.Desc
	labels []string // those behind the port
	// always is unset for what is left out while it is 0. Causes are: there are
	// many, few occur, and nobody waits for the first one.
	always bool
	of     func(*agent.Port) uint64
}

// counts are the values of all counters, in their order.
type counts []uint64

var counters = slices.Concat(
	directionCounters("in", func(p *agent.Port) *agent.Totals { return &p.In }),
	directionCounters("out", func(p *agent.Port) *agent.Totals { return &p.Out }),
	[]counter{{openedDesc, nil, true, func(p *agent.Port) uint64 { return p.Opened }}},
	observedCounters("in", func(p *agent.Port) *datapath.ObservedCounts { return &p.Observed.In }),
	observedCounters("out", func(p *agent.Port) *datapath.ObservedCounts { return &p.Observed.Out }),
	observedCounters("claim", func(p *agent.Port) *datapath.ObservedCounts { return &p.Observed.Claims }),
)

// observedCounters are left out while they are 0: most ports learn nothing.
func observedCounters(kind string, counts func(*agent.Port) *datapath.ObservedCounts) []counter {
	return []counter{
		{observedDesc, []string{kind, "told"}, false, func(p *agent.Port) uint64 { return counts(p).Told }},
		{observedDesc, []string{kind, "limited"}, false, func(p *agent.Port) uint64 { return counts(p).Limited }},
		{observedDesc, []string{kind, "lost"}, false, func(p *agent.Port) uint64 { return counts(p).Lost }},
	}
}

func directionCounters(direction string, totals func(*agent.Port) *agent.Totals) []counter {
	var list []counter
	add := func(desc *prometheus.Desc, label string, always bool, of func(*agent.Totals) uint64) {
		list = append(list, counter{desc, []string{direction, label}, always, func(p *agent.Port) uint64 { return of(totals(p)) }})
	}
	add(packetsDesc, "passed", true, func(t *agent.Totals) uint64 { return t.Passed.Packets })
	add(packetsDesc, "dropped", true, func(t *agent.Totals) uint64 { return t.Dropped.Packets })
	add(bytesDesc, "passed", true, func(t *agent.Totals) uint64 { return t.Passed.Bytes })
	add(bytesDesc, "dropped", true, func(t *agent.Totals) uint64 { return t.Dropped.Bytes })

	known := map[string]bool{}
	for reason, name := range reasons {
		if text := verdict.Reason(reason).String(); name != "" {
			known[text] = true
			add(droppedDesc, name, true, func(t *agent.Totals) uint64 { return t.DroppedFor[text] })
		}
	}
	add(droppedDesc, other, false, func(t *agent.Totals) uint64 { return sumOfOthers(t.DroppedFor, known) })

	knownCauses := map[string]bool{}
	for cause, name := range causes {
		if text := packet.Invalid(cause).String(); name != "" {
			knownCauses[text] = true
			add(invalidDesc, name, false, func(t *agent.Totals) uint64 { return t.InvalidFor[text] })
		}
	}
	add(invalidDesc, other, false, func(t *agent.Totals) uint64 { return sumOfOthers(t.InvalidFor, knownCauses) })
	return list
}

// sumOfOthers adds up what has no name here, such as a reason that is new.
func sumOfOthers(by map[string]uint64, known map[string]bool) (sum uint64) {
	for text, n := range by {
		if !known[text] {
			sum += n
		}
	}
	return sum
}

func countsOf(p *agent.Port) counts {
	c := make(counts, len(counters))
	for i := range counters {
		c[i] = counters[i].of(p)
	}
	return c
}

// grow adds what was counted between two looks; a counter that has become less
// began anew.
func (c counts) grow(before, now counts) {
	for i := range c {
		if now[i] >= before[i] {
			c[i] += now[i] - before[i]
		} else {
			c[i] += now[i]
		}
	}
}

func (c counts) metrics(port string) []prometheus.Metric {
	list := make([]prometheus.Metric, 0, len(c))
	for i, k := range counters {
		if c[i] > 0 || k.always {
			labels := append([]string{port}, k.labels...)
			list = append(list, prometheus.MustNewConstMetric(k.desc, prometheus.CounterValue, float64(c[i]), labels...))
		}
	}
	return list
}
