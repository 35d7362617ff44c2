package policytest

import (
	"fmt"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath"
	"tapgate/internal/eval"
	"tapgate/internal/ipset"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// Engine chooses what decides the packets.
type Engine string

// The engines.
const (
	Eval Engine = "eval"
	EBPF Engine = "ebpf"
	Both Engine = "both"
)

// ParseEngine reads the name of an engine.
func ParseEngine(name string) (Engine, error) {
	switch e := Engine(name); e {
	case Eval, EBPF, Both:
		return e, nil
	}
	return "", fmt.Errorf("there is no engine %q; expected eval, ebpf or both", name)
}

// Outcome is what an engine decided about a packet and why.
type Outcome struct {
	Verdict verdict.Verdict
	Reason  verdict.Reason
	// Clause decided; nil if none did.
	Clause    *policy.Clause
	State     packet.State
	Direction packet.Direction
	// Invalid is why the state is INVALID.
	Invalid packet.Invalid
}

// Expect is the outcome in the words of a test.
func (o Outcome) Expect() Expect {
	if o.Verdict.Passes() {
		return "pass"
	}
	return "drop"
}

func (o Outcome) String() string {
	s := o.Verdict.String() + ": " + o.Reason.String()
	if c := o.Clause; c != nil {
		s += fmt.Sprintf(", %s of filter %s: %s", c.Origin, c.Origin.Filter, c)
	}
	if state := stateNames[o.State]; state != "" {
		if o.Invalid != packet.NotInvalid {
			state += ": " + o.Invalid.String()
		}
		s += " [" + state + directionNames[o.Direction] + "]"
	}
	return s
}

var (
	stateNames = map[packet.State]string{
		packet.StateNew: "NEW", packet.StateEstablished: "ESTABLISHED", packet.StateRelated: "RELATED",
		packet.StateInvalid: "INVALID", packet.StateUntracked: "UNTRACKED",
	}
	directionNames = map[packet.Direction]string{packet.Original: ", original direction", packet.Reply: ", reply direction"}
)

// evaluator is the engine in Go.
type evaluator struct {
	policy *policy.Policy
	config conntrack.Config
	sets   ipset.Sets
	eval   *eval.Evaluator
}

func (e *evaluator) reset() {
	e.eval = eval.New(e.policy, e.config)
	e.eval.UseSets(e.sets)
}

// evalDetails are what the evaluator tells beside the outcome.
type evalDetails = eval.Result

func (e *evaluator) run(frame []byte, out bool, now int64) (Outcome, evalDetails) {
	r := e.eval.Decide(frame, out, now)
	return Outcome{
		Verdict: r.Verdict, Reason: r.Reason, Clause: r.Clause,
		State: r.Packet.State, Direction: r.Packet.Direction, Invalid: r.Packet.Invalid,
	}, r
}

// program is the engine in the kernel.
type program struct {
	policy *policy.Policy
	config datapath.Config
	tester *datapath.Tester
}

func newProgram(p *policy.Policy, config datapath.Config) (*program, error) {
	tester, err := datapath.NewTester(p, config)
	if err != nil {
		return nil, err
	}
	return &program{policy: p, config: config, tester: tester}, nil
}

func (e *program) run(frame []byte, out bool, now int64) (Outcome, error) {
	r, err := e.tester.Run(frame, out, now)
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{Verdict: r.Verdict, Reason: r.Reason, State: r.State, Direction: r.Direction, Invalid: r.Invalid}
	if r.Clause >= 0 {
		if r.Clause >= len(e.policy.Clauses) {
			return Outcome{}, fmt.Errorf("the program names clause %d of %d", r.Clause, len(e.policy.Clauses))
		}
		o.Clause = e.policy.Clauses[r.Clause]
	}
	return o, nil
}
