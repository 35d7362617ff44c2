package policytest

import (
	"errors"
	"fmt"
	"strings"

	"tapgate/internal/compat"
	"tapgate/internal/compile"
	"tapgate/internal/eval"
	"tapgate/internal/learn"
	"tapgate/internal/policy"
)

// FileResult is what became of one file.
type FileResult struct {
	Path string
	Summary
	// Failures are told in order.
	Failures []Failure
}

// Failure is one packet, or one file, that did not do what the test says.
type Failure struct {
	Path string `json:"file"`
	// Sequence and Packet count from 1; 0 where the whole file is meant.
	Sequence int    `json:"sequence,omitempty"`
	About    string `json:"about,omitempty"` // the sequence's note
	Packet   int    `json:"packet,omitempty"`
	Note     string `json:"note,omitempty"` // the packet's note
	Fault    string `json:"fault"`
	Expected string `json:"expected,omitempty"`
	// Eval and Program are the engines' outcomes with their reasons.
	Eval    string `json:"eval,omitempty"`
	Program string `json:"ebpf,omitempty"`
}

// String takes several lines.
func (f Failure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "FAIL %s", f.Path)
	if f.Sequence > 0 {
		fmt.Fprintf(&b, " sequence %d", f.Sequence)
		if f.About != "" {
			fmt.Fprintf(&b, " (%s)", f.About)
		}
	}
	if f.Packet > 0 {
		fmt.Fprintf(&b, " packet %d: %s", f.Packet, f.Note)
	}
	fmt.Fprintf(&b, "\n  %s", f.Fault)
	for _, line := range []struct{ label, text string }{{"expected", f.Expected}, {"eval", f.Eval}, {"ebpf", f.Program}} {
		if line.text != "" {
			fmt.Fprintf(&b, "\n  %-8s  %s", line.label, line.text)
		}
	}
	return b.String()
}

// RunFile runs one test on the chosen engine.
func RunFile(t *Test, engine Engine) *FileResult {
	r := &FileResult{Path: t.Path, Summary: Summary{Files: 1}}
	defined, refused := t.define()
	var p *policy.Policy
	if refused == nil {
		p, refused = t.bind(defined)
	}
	if t.ExpectError != nil {
		r.expectError(t, defined, p, refused)
		return r
	}
	if refused != nil {
		r.whole(t, "the filters are refused: "+refused.Error())
		return r
	}
	if reason := unsupported(p); reason != "" {
		r.Skipped = t.Packets()
		r.SkippedFor = map[string]int{reason: 1}
		return r
	}
	sets, err := t.sets(p)
	if err != nil {
		r.whole(t, err.Error())
		return r
	}
	chosen, err := t.settings()
	if err != nil {
		r.whole(t, err.Error())
		return r
	}
	run, err := newRun(p, chosen, sets, engine)
	if err != nil {
		r.whole(t, "the program does not load: "+err.Error())
		return r
	}
	defer run.close()
	run.learner = eval.NewLearner(p, func(leases []learn.Lease) (*policy.Policy, error) { return t.resolve(defined, leases) })
	for i := range t.Sequences {
		r.sequence(t, run, i)
	}
	return r
}

// whole fails everything in the file.
func (r *FileResult) whole(t *Test, fault string) {
	r.Failed += t.Packets() - r.Passed - r.Failed - r.KnownTotal()
	r.Failures = append(r.Failures, Failure{Path: t.Path, Fault: fault})
}

func (r *FileResult) expectError(t *Test, defined definitions, p *policy.Policy, refused error) {
	var refusal *Refusal
	switch {
	case errors.As(refused, &refusal) && t.ExpectError.expectedAt(refusal):
		r.Passed = 1
	case refused != nil:
		r.whole(t, fmt.Sprintf("expected to be refused at the stage %q, but was at another: %v", t.ExpectError.Stage, refused))
	default:
		if id := compat.ExplainAcceptance(defined.list(), p, t.ExpectError.Stage); id != "" {
			r.addKnown(id, 1)
			return
		}
		r.whole(t, fmt.Sprintf("expected to be refused at the stage %q (libvirt: %s), but was accepted", t.ExpectError.Stage, t.ExpectError.Libvirt))
	}
}

// unsupported says why a test cannot be run, "" if it can.
func unsupported(p *policy.Policy) string {
	if missing := compile.Unsupported(p); len(missing) > 0 {
		_, what, _ := strings.Cut(missing[0], "> ")
		return what
	}
	return ""
}

func (r *FileResult) sequence(t *Test, run *run, index int) {
	s := &t.Sequences[index]
	results, err := run.sequence(s)
	if err != nil {
		r.Failed += len(s.Packets)
		r.Failures = append(r.Failures, Failure{Path: t.Path, Sequence: index + 1, About: s.Note, Fault: err.Error()})
		return
	}
	for i, result := range results {
		switch {
		case result.fault != "":
			r.Failed++
			r.Failures = append(r.Failures, failure(t, index, i, &result))
		case result.known != "":
			r.addKnown(result.known, 1)
		default:
			r.Passed++
		}
	}
}

func failure(t *Test, sequence, index int, result *packetResult) Failure {
	s := &t.Sequences[sequence]
	p := &s.Packets[index]
	f := Failure{
		Path: t.Path, Sequence: sequence + 1, About: s.Note, Packet: index + 1, Note: p.Note,
		Fault: result.fault, Expected: string(p.Expect), Eval: result.eval.String(),
	}
	if f.Note == "" {
		f.Note = string(p.Dir)
	}
	if result.program != nil {
		f.Program = result.program.String()
	}
	return f
}
