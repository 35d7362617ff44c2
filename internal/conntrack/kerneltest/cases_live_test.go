package kerneltest

import (
	"errors"
	"testing"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// newKernel skips the test where the kernel or the rights for it are missing.
func newKernel(t testing.TB) *Kernel {
	t.Helper()
	k, err := New()
	if missing := (ErrMissing{}); errors.Is(err, lab.ErrNeedsRoot) || errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// engine is the kernel as the shared sequences know a tracker.
type engine struct {
	*Kernel
	now int64
}

func (e *engine) Judge(t *testing.T, frame []byte, _ bool, now int64, accept bool) (packet.State, packet.Direction) {
	t.Helper()
	if e.now != 0 && now > e.now {
		if err := e.Elapse(time.Duration(now - e.now)); err != nil {
			t.Fatal(err)
		}
	}
	e.now = now
	state, direction, err := e.Kernel.Judge(frame, accept)
	if err != nil {
		t.Fatal(err)
	}
	return state, direction
}

func (e *engine) ProtoState(t *testing.T, now int64) string {
	t.Helper()
	found, err := e.entries()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found {
		return x.protoState
	}
	return ""
}

// The sequences that define the tracker are what the running kernel does.
func TestSequences(t *testing.T) {
	k := newKernel(t)
	conntracktest.RunKernel(t, func(t *testing.T, config conntrack.Config) conntracktest.Engine {
		if err := k.Reset(); err != nil {
			t.Fatal(err)
		}
		loose := 0
		if config.PickUp {
			loose = 1
		}
		if err := k.Set("nf_conntrack_tcp_loose", loose); err != nil {
			t.Fatal(err)
		}
		if err := k.SetTimeouts(config.Timeouts.OrDefault()); err != nil {
			t.Fatal(err)
		}
		return &engine{Kernel: k}
	})
}
