package metrics

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/learn"
	"tapgate/internal/packet"
	"tapgate/internal/settings"
	"tapgate/internal/verdict"
)

// fake is an agent with what it is given. busy counts who asks at once.
type fake struct {
	mu     sync.Mutex
	ports  []agent.Port
	faults []error
	daemon *agent.DaemonStatus
	table  datapath.TableUse
	leases []agent.Lease
	err    error
	before func()

	asked, busy atomic.Int32
}

func (f *fake) Status(context.Context) agent.Status { return agent.Status{Daemon: f.daemon} }

func (f *fake) Ports(context.Context) ([]agent.Port, []error, error) {
	f.asked.Add(1)
	if f.busy.Add(1) > 1 {
		panic("two looks at once")
	}
	defer f.busy.Add(-1)
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports, f.faults, f.err
}

func (f *fake) Stats(_ context.Context, port string) (*agent.Stats, error) {
	if port == "vanished" {
		return nil, &datapath.NotGuardedError{}
	}
	return &agent.Stats{Table: f.table}, nil
}

func (f *fake) Leases(context.Context, string) ([]agent.Lease, []error, error) {
	return f.leases, nil, nil
}

// lease is one that was learned from something.
func lease(source learn.Source, inUse bool) agent.Lease {
	return agent.Lease{Lease: learn.Lease{Source: source}, InUse: inUse}
}

func (f *fake) set(ports ...agent.Port) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports = ports
}

func port(name string, state datapath.State) agent.Port {
	return agent.Port{Port: datapath.Port{Name: name, State: state}, Bound: true}
}

// counted is a guarded port that passed n packets in.
func counted(name string, n uint64) agent.Port {
	p := port(name, datapath.Guarded)
	p.In.Passed.Packets = n
	return p
}

// example is a host with a busy port, one that lost its programs, and one that has
// nothing learned yet.
func example() *fake {
	busy := port("vnet0", datapath.Guarded)
	busy.MAC = "52:54:00:00:00:01"
	busy.Connections, busy.Opened = 75, 900
	busy.In = agent.Totals{
		Passed:  datapath.Counter{Packets: 1000, Bytes: 900000},
		Dropped: datapath.Counter{Packets: 30, Bytes: 1800},
		DroppedFor: map[string]uint64{
			verdict.Clause.String(): 20, verdict.TableFull.String(): 7, "a reason of the next version": 3,
		},
		InvalidFor: map[string]uint64{packet.InvalidTCPWindow.String(): 5},
	}
	busy.Out = agent.Totals{Passed: datapath.Counter{Packets: 800, Bytes: 64000}}
	busy.Settings = settings.Values{{Name: "CTRL_MAX_CONNECTIONS", Value: "100", From: settings.ByPort}}
	removed := port("vnet1", datapath.Unguarded)
	removed.Fault = "somebody took the program off"
	learning := port("vnet2", agent.LearningState)
	learning.Learning = &datapath.Learning{Mode: "any", Wants: []string{"IP"}, Waiting: []string{"IP"}}
	return &fake{
		ports:  []agent.Port{busy, removed, learning},
		leases: []agent.Lease{lease(learn.DHCP, true), lease(learn.DHCP, true), lease(learn.DHCP, false), lease(learn.ARP, true), lease("crystal", true)},
		daemon: &agent.DaemonStatus{Ready: true, Faults: []string{
			"the journal has a damaged line",
		}},
		table: datapath.TableUse{Used: 75, Size: 1000000},
	}
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// newTest makes metrics whose clock stands still at the time that is pointed to.
func newTest(t *testing.T, f *fake, change ...func(*Options)) (*Metrics, *time.Time) {
	t.Helper()
	now := noon
	o := Options{Source: f, Events: NewEvents(), Version: "v1.2.3", Revision: "abc", Now: func() time.Time { return now }}
	for _, c := range change {
		c(&o)
	}
	return New(o), &now
}
