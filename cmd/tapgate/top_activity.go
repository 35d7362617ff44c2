package main

import (
	"cmp"
	"slices"
	"time"

	"tapgate/client"
)

// activity is what ports did in an interval.
type activity struct {
	Time    time.Time      `json:"time"`
	Seconds float64        `json:"seconds"`
	Ports   []portActivity `json:"ports"`
}

// portActivity is what a port did, in a second.
type portActivity struct {
	Port   string `json:"port"`
	Filter string `json:"filter"`
	State  string `json:"state"`
	// In and Out are packets, dropped ones too.
	In    float64 `json:"in"`
	Out   float64 `json:"out"`
	Drops float64 `json:"drops"`
	// Connections are those that are open now.
	Connections uint32  `json:"connections"`
	New         float64 `json:"new"`
}

// since works out what the ports did between two looks. What a port counts less
// of than before it counts from 0: it was released and bound again.
func (l look) since(before look) *activity {
	a := &activity{Time: l.at, Seconds: l.at.Sub(before.at).Seconds(), Ports: []portActivity{}}
	known := map[string]*client.Port{}
	for i := range before.ports {
		known[before.ports[i].Name] = &before.ports[i]
	}
	for i := range l.ports {
		p, old := &l.ports[i], known[l.ports[i].Name]
		if old == nil {
			old = &client.Port{}
		}
		rate := func(count func(*client.Port) uint64) float64 {
			was, is := count(old), count(p)
			if is < was {
				was = 0
			}
			return float64(is-was) / a.Seconds
		}
		a.Ports = append(a.Ports, portActivity{
			Port: p.Name, Filter: p.Filter, State: p.State, Connections: p.Connections,
			In:    rate(func(p *client.Port) uint64 { return p.In.Passed.Packets + p.In.Dropped.Packets }),
			Out:   rate(func(p *client.Port) uint64 { return p.Out.Passed.Packets + p.Out.Dropped.Packets }),
			Drops: rate(func(p *client.Port) uint64 { return p.In.Dropped.Packets + p.Out.Dropped.Packets }),
			New:   rate(func(p *client.Port) uint64 { return p.Opened }),
		})
	}
	return a
}

func (a *activity) sum() (sum portActivity) {
	for _, p := range a.Ports {
		sum.In, sum.Out, sum.Drops, sum.New = sum.In+p.In, sum.Out+p.Out, sum.Drops+p.Drops, sum.New+p.New
		sum.Connections += p.Connections
	}
	return sum
}

// topOrders are the orders that --sort knows; topLess compares by them, the most
// first.
var (
	topOrders = []string{"packets", "in", "out", "drops", "connections", "new", "name"}
	topLess   = map[string]func(a, b *portActivity) int{
		"packets":     func(a, b *portActivity) int { return cmp.Compare(b.In+b.Out, a.In+a.Out) },
		"in":          func(a, b *portActivity) int { return cmp.Compare(b.In, a.In) },
		"out":         func(a, b *portActivity) int { return cmp.Compare(b.Out, a.Out) },
		"drops":       func(a, b *portActivity) int { return cmp.Compare(b.Drops, a.Drops) },
		"connections": func(a, b *portActivity) int { return cmp.Compare(b.Connections, a.Connections) },
		"new":         func(a, b *portActivity) int { return cmp.Compare(b.New, a.New) },
		"name":        func(*portActivity, *portActivity) int { return 0 },
	}
)

func (a *activity) sort(order string) {
	slices.SortFunc(a.Ports, func(p, q portActivity) int {
		return cmp.Or(topLess[order](&p, &q), cmp.Compare(p.Port, q.Port))
	})
}
