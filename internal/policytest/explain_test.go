package policytest

import (
	"fmt"
	"testing"

	"tapgate/internal/eval"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

// TestExplanationsAgree decides every packet of the recordings twice, as tests
// do and as explanations do, and holds the path that is explained against the
// verdict.
func TestExplanationsAgree(t *testing.T) {
	files, err := Find("testdata/corpus", "testdata/differences")
	if err != nil {
		t.Fatal(err)
	}
	explained := 0
	for _, path := range files {
		test, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := test.Policy()
		if err != nil || unsupported(p) != "" {
			continue // refused, as the test expects, or not available
		}
		sets, err := test.sets(p)
		if err != nil {
			continue // refused, as the test expects
		}
		chosen, err := test.settings()
		if err != nil {
			t.Fatal(err)
		}
		run, err := newRun(p, chosen, sets, Eval)
		if err != nil {
			t.Fatal(err)
		}
		for i := range test.Sequences {
			s := &test.Sequences[i]
			results, err := run.sequence(s)
			if err != nil {
				t.Fatal(err)
			}
			e := eval.New(p, chosen.Conntrack())
			e.UseSets(sets)
			e.Trace(true)
			for j := range s.Packets {
				r := e.Decide(s.Packets[j].Frame, s.Packets[j].Dir == "out", int64(j+1)*run.gap())
				fault := pathFault(&r)
				if want := results[j].eval; r.Verdict != want.Verdict || r.Reason != want.Reason || r.Clause != want.Clause {
					fault = fmt.Sprintf("explained as %s (%s), decided as %s", r.Verdict, r.Reason, want)
				}
				if fault != "" {
					t.Errorf("%s sequence %d packet %d: %s", path, i+1, j+1, fault)
				}
				explained++
			}
		}
		run.close()
	}
	if explained < 60_000 {
		t.Errorf("only %d packets", explained)
	}
}

// pathFault tells where a path does not lead to its verdict.
func pathFault(r *eval.Result) string {
	var last eval.Step
	matched := false
	for i, step := range r.Trace {
		last = step
		c := step.Clause
		if c == nil || !step.Matched {
			continue
		}
		matched = matched || c == r.Clause
		if drops := c.Action == nwfilter.Drop || c.Action == nwfilter.Reject; drops && i < len(r.Trace)-1 {
			return fmt.Sprintf("the path goes on behind %q", c)
		}
		if c.Action == nwfilter.Drop && r.Verdict.Passes() {
			return fmt.Sprintf("%q is on the path of a packet that passes", c)
		}
	}
	switch {
	case r.Reason == verdict.Clause && !matched:
		return fmt.Sprintf("the clause that decided, %q, is not on the path", r.Clause)
	case !r.Verdict.Passes() && r.Clause != nil && last.Clause != r.Clause:
		return fmt.Sprintf("the path ends with %v, not with what dropped the packet", last.Clause)
	case !r.Verdict.Passes() && r.Clause != nil && last.Matched != (r.Reason == verdict.Clause):
		return fmt.Sprintf("the last step says matched=%v, the reason is %s", last.Matched, r.Reason)
	}
	return ""
}
