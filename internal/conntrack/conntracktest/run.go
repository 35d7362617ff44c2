package conntracktest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// Engine is a connection tracker under test, with an empty table.
type Engine interface {
	// Judge tells a packet's state and direction at a time in nanoseconds,
	// and commits it if accept.
	Judge(t *testing.T, frame []byte, out bool, now int64, accept bool) (packet.State, packet.Direction)
	// ProtoState names the state of the only connection in the table, "" if
	// there is none that lives.
	ProtoState(t *testing.T, now int64) string
}

// Case is a sequence with the states that every tracker must find.
type Case struct {
	Name   string
	Script string
	Strict bool // only a SYN opens a TCP connection
	// Timeouts are the defaults if zero.
	Timeouts conntrack.Timeouts
	// Differs says why the sequence is not what nf_conntrack does, or why it
	// cannot be shown on it.
	Differs string
}

// start is when every sequence begins.
const start = int64(1000 * time.Second)

// Run puts all cases through new engines.
func Run(t *testing.T, begin func(*testing.T, conntrack.Config) Engine) {
	run(t, Cases(), begin)
}

// RunKernel is Run for nf_conntrack itself.
func RunKernel(t *testing.T, begin func(*testing.T, conntrack.Config) Engine) {
	run(t, slices.DeleteFunc(Cases(), func(c Case) bool { return c.Differs != "" }), begin)
}

func run(t *testing.T, cases []Case, begin func(*testing.T, conntrack.Config) Engine) {
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			steps, err := Script(c.Script)
			if err != nil {
				t.Fatal(err)
			}
			runSteps(t, begin(t, conntrack.Config{PickUp: !c.Strict, Timeouts: c.Timeouts}), steps)
		})
	}
}

func runSteps(t *testing.T, engine Engine, steps []Step) {
	t.Helper()
	if err := judgeSteps(t, engine, steps); err != nil {
		t.Fatal(err)
	}
}

// judgeSteps tells the first step that is not as expected.
func judgeSteps(t *testing.T, engine Engine, steps []Step) error {
	t.Helper()
	now := start
	for i, s := range steps {
		now += int64(s.Pause)
		if s.Frame == nil {
			continue
		}
		state, direction := engine.Judge(t, s.Frame, s.Out, now, !s.Drop)
		if state != s.State {
			return fmt.Errorf("step %d, %s: state %s", i+1, s.Text, StateName(state))
		}
		if s.Direction != 0 && direction != s.Direction {
			return fmt.Errorf("step %d, %s: direction %d", i+1, s.Text, direction)
		}
		if s.ProtoState == "" {
			continue
		}
		want := s.ProtoState
		if want == "gone" {
			want = ""
		}
		if got := engine.ProtoState(t, now); got != want {
			return fmt.Errorf("step %d, %s: the connection is in state %q", i+1, s.Text, got)
		}
	}
	return nil
}

// StateName is the notation's word for a state.
func StateName(state packet.State) string {
	for name, s := range states {
		if s == state {
			return name
		}
	}
	return "none"
}
