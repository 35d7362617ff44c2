package policytest

import (
	"tapgate/internal/compat"
	"tapgate/internal/datapath"
	"tapgate/internal/eval"
	"tapgate/internal/ipset"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
)

// Nanoseconds between packets: 20 µs, as in the recordings; 12 ms where
// connections are counted, which the kernel does with a delay; 200 ms where
// addresses are learned, so that the limits on what is copied for that
// (OBSERVE_INTERVAL in observe.h) let every packet teach, also one that is copied
// twice. Between sequences everything that a port remembers beside its connections
// has time to expire.
const (
	packetGap    = 20_000
	connLimitGap = 12_000_000
	learningGap  = 200_000_000
	sequenceGap  = 120_000_000_000
)

// run is a policy under test on the chosen engines.
type run struct {
	policy  *policy.Policy
	engine  Engine
	eval    evaluator
	program *program      // nil unless chosen
	learner *eval.Learner // nil if nothing is to be learned
	now     int64
}

func (r *run) gap() int64 {
	switch {
	case r.learner != nil:
		return learningGap
	case r.policy.Facts.ConnLimit:
		return connLimitGap
	}
	return packetGap
}

func newRun(p *policy.Policy, chosen settings.Settings, sets ipset.Sets, engine Engine) (*run, error) {
	r := &run{policy: p, engine: engine, eval: evaluator{policy: p, config: chosen.Conntrack(), sets: sets}, now: sequenceGap}
	if engine == Eval {
		return r, nil
	}
	var err error
	r.program, err = newProgram(p, datapath.Config{Sets: sets}.With(chosen))
	return r, err
}

func (r *run) close() {
	if r.program != nil {
		r.program.tester.Close()
	}
}

// packetResult is what became of one packet of a sequence.
type packetResult struct {
	eval    Outcome
	program *Outcome // nil unless chosen
	// fault says what is wrong, "" if nothing is; known is the difference that
	// explains a verdict other than the expected one.
	fault string
	known string
}

// begin starts anew, from an empty connection table, with nothing learned.
func (r *run) begin() error {
	r.eval.reset()
	if r.program != nil {
		if err := r.program.tester.Reset(); err != nil {
			return err
		}
	}
	r.now += sequenceGap
	return r.forget()
}

func (r *run) sequence(s *Sequence) ([]packetResult, error) {
	if err := r.begin(); err != nil {
		return nil, err
	}
	history := compat.NewHistory(r.policy)
	history.UseSets(r.eval.eval.InSet)
	explain := history.Explain
	if s.isOwn() {
		explain = func() string { return "" }
	}
	results := make([]packetResult, len(s.Packets))
	for i := range s.Packets {
		p := &s.Packets[i]
		r.now += r.gap() + int64(p.After)
		result := &results[i]
		details, err := r.judged(p, result)
		if err != nil {
			return nil, err
		}
		history.Add(compat.Observation{
			Packet: details.Packet, Verdict: details.Verdict, Reason: details.Reason,
			Clause: details.Clause, Matched: details.Matched,
		})
		result.judge(r.engine, p.Expect, explain)
		r.checkLearned(p, result)
	}
	return results, nil
}

func (r *run) judged(p *Packet, result *packetResult) (evalDetails, error) {
	if r.learner != nil {
		return r.learning(p, result)
	}
	return r.decide(p, result)
}

func (r *run) decide(p *Packet, result *packetResult) (details evalDetails, err error) {
	result.eval, details = r.eval.run(p.Frame, p.Dir == "out", r.now)
	if r.program == nil {
		return details, nil
	}
	o, err := r.program.run(p.Frame, p.Dir == "out", r.now)
	result.program = &o
	return details, err
}

// judge compares the outcomes with each other and with what was expected. A
// difference never explains that the engines disagree.
func (r *packetResult) judge(engine Engine, expect Expect, explain func() string) {
	got := r.eval
	if engine == EBPF {
		got = *r.program
	}
	switch {
	case engine == Both && *r.program != r.eval:
		r.fault = "the engines disagree"
	case got.Expect() == expect:
	case got.Expect() == r.eval.Expect():
		// What explains is judged by the evaluator's outcomes.
		r.known = explain()
		fallthrough
	default:
		if r.known == "" {
			r.fault = "wrong verdict"
		}
	}
}
