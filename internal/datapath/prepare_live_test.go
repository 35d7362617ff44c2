package datapath

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

// prepared makes the next generation of a port.
func (l *live) prepared(port string, p *policy.Policy) (next *Prepared) {
	l.t.Helper()
	l.in(func() (err error) {
		next, err = l.host.Prepare(l.t.Context(), port, p, Meta{})
		return err
	})
	return next
}

// slotsOf tells how many slots a port has.
func (l *live) slotsOf(number uint32) int {
	l.t.Helper()
	v, err := thisVersion()
	if err != nil {
		l.t.Fatal(err)
	}
	c, err := l.host.common(v.skeleton)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.close()
	return len(c.slots.of(number))
}

func TestWhatIsPreparedIsNotInForce(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			port := l.Guest.Port
			l.guard(port, resolve(t, dropNine))
			number := l.binding(port).Number

			next := l.prepared(port, resolve(t, dropAll))
			l.arrives(l.Guest, l.Neighbour, l.udp(10, "passes still"), true)
			if got := l.slotsOf(number); got != 2 {
				t.Errorf("%d slots, want 2", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			l.in(func() error {
				if _, err := l.host.Prepare(ctx, port, resolve(t, dropAll), Meta{}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("prepared twice at once: %v", err)
				}
				return nil
			})
			if err := next.Discard(); err != nil {
				t.Fatal(err)
			}
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
			l.arrives(l.Guest, l.Neighbour, l.udp(10, "passes"), true)
			l.state(port, Guarded)
			if got := l.slotsOf(number); got != 1 {
				t.Errorf("%d slots after it was discarded, want 1", got)
			}

			next = l.prepared(port, resolve(t, dropAll))
			l.in(func() error {
				change, err := next.Commit(t.Context())
				if !change.Replaced || change.Before != "f" {
					t.Errorf("changed: %+v", change)
				}
				return err
			})
			l.arrives(l.Guest, l.Neighbour, l.udp(10, "dropped"), false)
			if got := l.slotsOf(number); got != 1 {
				t.Errorf("%d slots after it was committed, want 1", got)
			}
			if err := next.Discard(); err != nil {
				t.Errorf("discarded after it was committed: %v", err)
			}
			if _, err := next.Commit(t.Context()); err == nil {
				t.Error("committed twice")
			}
			l.state(port, Guarded)
			l.release(port)
			l.empty()
		})
	}
}

func TestADiscardedPortWasNeverThere(t *testing.T) {
	l := newLive(t, Automatic)
	if err := l.prepared(l.Guest.Port, resolve(t, dropAll)).Discard(); err != nil {
		t.Fatal(err)
	}
	l.arrives(l.Guest, l.Neighbour, l.udp(9, "passes"), true)
	l.empty()
}

func TestACancelledCommitLeavesWhatWasInForce(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropNine))
	next := l.prepared(port, resolve(t, dropAll))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.in(func() error {
		if _, err := next.Commit(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("committed: %v", err)
		}
		return nil
	})
	l.arrives(l.Guest, l.Neighbour, l.udp(10, "passes"), true)
	l.state(port, Guarded)
	l.oneGeneration(port)
}

// A process that is killed leaves a generation that is not attached, whole or
// half built: the next change drops it and frees its slot.
func TestWhatAKilledProcessPreparedIsDropped(t *testing.T) {
	for _, half := range []bool{false, true} {
		l := newLive(t, Automatic)
		port := l.Guest.Port
		l.guard(port, resolve(t, dropNine))
		number := l.binding(port).Number
		next := l.prepared(port, resolve(t, dropAll))
		if half {
			if err := os.Rename(next.generation.dir, filepath.Join(next.state.dir, asideName)); err != nil {
				t.Fatal(err)
			}
		}
		next.lock.unlock() // as the kernel does
		l.host = openHost(t, l.host.dir, Automatic)

		l.arrives(l.Guest, l.Neighbour, l.udp(10, "passes"), true)
		l.state(port, Guarded)
		l.guard(port, resolve(t, dropNine))
		l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
		l.oneGeneration(port)
		if got := l.slotsOf(number); got != 1 {
			t.Errorf("half built %v: %d slots, want 1", half, got)
		}
		l.release(port)
		l.empty()
	}
}

// Each of the policies drops every packet, one in the link stage and one in the
// network stage: what passes has met half of each.
func TestNoPacketMeetsTwoPolicies(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	link := resolve(t, `<filter name="link" chain="ipv4"><rule action="drop" direction="inout"><ip protocol="udp"/></rule></filter>`)
	network := resolve(t, `<filter name="network"><rule action="drop" direction="inout"><udp/></rule></filter>`)
	l.guard(port, link)

	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	flood.Go(func() { _, _ = lab.Datagrams(l.Guest, l.Neighbour, 9).Run(ctx, floodRate) })
	for range 20 {
		l.guard(port, network)
		l.guard(port, link)
	}
	cancel()
	flood.Wait()
	out := l.stats(port).Out
	if out.Dropped.Packets < 1000 {
		t.Errorf("only %d packets were sent", out.Dropped.Packets)
	}
	if by := out.Reasons[0]; by != out.Dropped.Packets {
		t.Errorf("of %d packets %d were dropped by a rule: %v", out.Dropped.Packets, by, out.Reasons)
	}
	if n := out.Passed.Packets; n > 20 { // neighbour discovery
		t.Errorf("%d packets passed", n)
	}
}

// A skeleton that no generation has a slot in goes, others stay.
func TestSkeletonsOfOtherVersionsAreTidiedUp(t *testing.T) {
	l := newLive(t, Automatic)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	spec, err := readSkeleton()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"skeleton_idle", "skeleton_used"} {
		if err := l.host.makeCommon(name, spec); err != nil {
			t.Fatal(err)
		}
	}
	used, err := l.host.common("skeleton_used")
	if err != nil {
		t.Fatal(err)
	}
	defer used.close()
	if _, err := used.slots.take(slotOwner(7, 1)); err != nil {
		t.Fatal(err)
	}
	if err := l.host.tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"skeleton_idle": false, "skeleton_used": true, l.binding(l.Guest.Port).Skeleton: true} {
		if got := exists(filepath.Join(l.host.dir, name)); got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
	l.release(l.Guest.Port)
	l.empty()
}
