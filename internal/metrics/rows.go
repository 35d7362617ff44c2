package metrics

import (
	"unicode/utf8"

	"tapgate/internal/agent"
)

// gauges are what holds of a port, or of several, now.
type gauges struct{ connections, limit, faults, unguarded, learning uint64 }

func gaugesOf(p *agent.Port) gauges {
	g := gauges{
		connections: uint64(p.Connections),
		// Those at the port that are not the default, and the defaults.
		limit: uint64(p.Settings.Settings().MaxConnections),
	}
	if p.Fault != "" {
		g.faults = 1
	}
	if isUnguarded(p) {
		g.unguarded = 1
	}
	if p.State == agent.LearningState {
		g.learning = 1
	}
	return g
}

// isUnguarded tells whether a port should be guarded and could be, and is not.
func isUnguarded(p *agent.Port) bool {
	return (p.Bound || p.Default) && !nameState(p.State).covered
}

func (g *gauges) add(o gauges) {
	g.connections += o.connections
	g.limit += o.limit
	g.faults += o.faults
	g.unguarded += o.unguarded
	g.learning += o.learning
}

// A row is all series with one value of the label port.
type row struct {
	port string
	gauges
	counts
}

// rows decides which ports have series of their own: the first ones that were
// seen, as long as they exist. The rest shares one row, which must not count
// backwards when a port leaves it: Prometheus would take that for a restart, and
// show everything counted so far as a surge. Hence it sums up what was counted
// since the first look.
type rows struct {
	most   int
	looked bool
	own    map[string]bool
	rest   map[string]sharer
	other  counts
}

// A sharer is a port without a row of its own, as it was last seen. It is
// remembered for some looks that it is missing from: a port that cannot be read
// for once has not begun anew.
type sharer struct {
	counts
	missed int
}

const maxMissed = 10

func newRows(most int) *rows {
	return &rows{most: most, own: map[string]bool{}, rest: map[string]sharer{}, other: make(counts, len(counters))}
}

// of gives the rows of the ports that exist.
func (r *rows) of(ports []agent.Port) []row {
	exist := make(map[string]bool, len(ports))
	for i := range ports {
		exist[ports[i].Name] = true
	}
	for name := range r.own {
		if !exist[name] {
			delete(r.own, name)
		}
	}
	var list []row
	shared, sharers := row{port: other}, map[string]sharer{}
	given := make(map[string]bool, len(ports))
	for i := range ports {
		p := &ports[i]
		if given[p.Name] {
			continue // would be an error of the whole scrape
		}
		given[p.Name] = true
		now := countsOf(p)
		if r.ownRow(p.Name) {
			list = append(list, row{p.Name, gaugesOf(p), now})
			continue
		}
		before, known := r.rest[p.Name]
		switch {
		case known:
		case r.looked:
			before.counts = make(counts, len(counters))
		default:
			before.counts = now
		}
		r.other.grow(before.counts, now)
		sharers[p.Name] = sharer{counts: now}
		shared.add(gaugesOf(p))
	}
	sharing := len(sharers) > 0
	for name, s := range r.rest {
		if s.missed++; !exist[name] && s.missed <= maxMissed {
			sharers[name] = s
		}
	}
	r.rest, r.looked = sharers, true
	if sharing || r.other.any() {
		shared.counts = r.other
		list = append(list, shared)
	}
	return list
}

// ownRow tells whether the port has a row, and gives it one if it can. A
// device's name may be any bytes, a label's value may not.
func (r *rows) ownRow(port string) bool {
	if r.own[port] {
		return true
	}
	if len(r.own) >= r.most || port == other || !utf8.ValidString(port) {
		return false
	}
	r.own[port] = true
	return true
}

func (c counts) any() bool {
	for _, n := range c {
		if n > 0 {
			return true
		}
	}
	return false
}
