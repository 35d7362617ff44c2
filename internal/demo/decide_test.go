package demo

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/internal/datapath"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

const sample = `<filter name="sample">
  <rule action="accept" direction="in"><tcp dstportstart="22"/></rule>
  <rule action="accept" direction="out"><udp dstportstart="53"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
  <rule action="accept" direction="inout"><mac protocolid="ipv4"/></rule>
  <rule action="return" direction="out"><mac protocolid="0x1234"/></rule>
  <rule action="drop" direction="inout"><mac/></rule>
</filter>`

func samplePolicy(t *testing.T) *policy.Policy {
	t.Helper()
	f, faults := nwfilter.Parse([]byte(sample), "sample.xml", nwfilter.Options{})
	if f == nil {
		t.Fatal(faults)
	}
	p, err := policy.Resolve("sample", net.HardwareAddr{2, 0, 0, 0, 0, 1}, nil, func(name string) *nwfilter.Filter { return f })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// count is what the copy of a rule in one list has counted.
type count struct {
	line      int
	direction policy.Direction
	packets   uint64
}

// readingOf is a reading with these counts.
func readingOf(t *testing.T, p *policy.Policy, counts []count) reading {
	t.Helper()
	r := reading{p, &datapath.Stats{Clauses: make([]datapath.ClauseStats, len(p.Clauses))}}
	for _, n := range counts {
		found := false
		for _, stage := range []nwfilter.Stage{nwfilter.LinkStage, nwfilter.NetworkStage} {
			for c := range p.List(n.direction, stage).All {
				if c.Origin.Pos.Line == n.line {
					r.stats.Clauses[c.ID].Packets, found = n.packets, true
				}
			}
		}
		if !found {
			t.Fatalf("no clause of line %d, direction %s", n.line, n.direction)
		}
	}
	return r
}

func TestCountersTellWhichRuleDecided(t *testing.T) {
	p := samplePolicy(t)
	for _, test := range []struct {
		name          string
		before, after []count
		direction     policy.Direction
		did           Outcome
		least         uint64
		want          string
	}{
		{"an accepted exchange, by its rule of the network stage", nil,
			[]count{{2, in, 3}, {2, out, 2}, {5, in, 3}, {5, out, 2}}, in, Works, 0, "sample.xml:2 accept"},
		{"two rules, in the order of their lines", nil,
			[]count{{3, out, 1}, {2, in, 1}}, in, Works, 0, "sample.xml:2,3 accept"},
		{"what was counted before is none of its business",
			[]count{{2, in, 7}, {4, in, 2}}, []count{{2, in, 7}, {3, out, 1}, {4, in, 2}}, out, Works, 0, "sample.xml:3 accept"},
		{"a rule of the link stage where the network stage has none", nil,
			[]count{{5, out, 3}}, out, Works, 3, "sample.xml:5 accept"},
		{"not by that of the other direction", nil,
			[]count{{5, in, 3}}, out, Works, 0, "no rule matched: accepted"},
		{"a stray packet is not the frames that were sent", nil,
			[]count{{5, out, 1}}, out, Works, 3, "no rule matched: accepted"},
		{"a late packet of another exchange is none of many", nil,
			[]count{{2, in, 1}, {3, out, 40}}, out, Works, 3, "sample.xml:3 accept"},
		{"return decides nothing", nil,
			[]count{{6, out, 1}}, out, Works, 0, "no rule matched: accepted"},
		{"dropped, after the beginning was accepted", nil,
			[]count{{2, in, 5}, {2, out, 5}, {4, in, 1}}, in, Blocked, 0, "sample.xml:4 drop"},
		{"stray frames of IPv6 do not hide the drop", nil,
			[]count{{4, in, 1}, {7, in, 4}, {7, out, 5}}, in, Blocked, 0, "sample.xml:4 drop"},
		{"dropped at the link stage, beside a stray packet", nil,
			[]count{{4, out, 1}, {7, out, 3}}, out, Blocked, 3, "sample.xml:7 drop"},
		{"only the other direction dropped anything", nil,
			[]count{{4, in, 1}}, out, Blocked, 0, "sample.xml:4 drop"},
		{"nothing was dropped", nil, []count{{2, in, 5}}, in, Blocked, 0, "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, after := readingOf(t, p, test.before), readingOf(t, p, test.after)
			got := decidersText(decidedBy(before, after, test.direction, test.did, test.least))
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPacketsOfARuleAreAddedUp(t *testing.T) {
	p := samplePolicy(t)
	got := decidedBy(readingOf(t, p, []count{{2, in, 1}}), readingOf(t, p, []count{{2, in, 4}, {2, out, 2}}), in, Works, 0)
	want := []Decider{{File: "sample.xml", Line: 2, Action: "accept", Packets: 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReasonWithoutARule(t *testing.T) {
	p := samplePolicy(t)
	before, after := readingOf(t, p, nil), readingOf(t, p, nil)
	before.stats.In.Reasons[verdict.MalformedIP] = 2
	after.stats.In.Reasons[verdict.MalformedIP] = 2
	after.stats.Out.Reasons[verdict.MalformedIP] = 1
	got := decidedBy(before, after, out, Blocked, 0)
	if diff := cmp.Diff([]Decider{{Reason: "malformed IP header", Packets: 1}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyDecidesOnAPortThatIsNotGuarded(t *testing.T) {
	if got := decidedBy(reading{}, reading{}, in, Works, 0); got != nil {
		t.Errorf("got %v", got)
	}
	// Readings under two policies cannot be compared.
	if got := decidedBy(readingOf(t, samplePolicy(t), nil), readingOf(t, samplePolicy(t), nil), in, Works, 0); got != nil {
		t.Errorf("under different policies: %v", got)
	}
}

func TestDecidersAreShortened(t *testing.T) {
	rule := func(file string, line int, action string) Decider {
		return Decider{File: file, Line: line, Action: action}
	}
	for want, list := range map[string][]Decider{
		"-":                           nil,
		"a:1 drop":                    {rule("a", 1, "drop")},
		"a:1,2,9 accept":              {rule("a", 1, "accept"), rule("a", 2, "accept"), rule("a", 9, "accept")},
		"a:1, b:1,2 drop":             {rule("a", 1, "drop"), rule("b", 1, "drop"), rule("b", 2, "drop")},
		"a:1 accept, a:2 drop":        {rule("a", 1, "accept"), rule("a", 2, "drop")},
		"no rule matched, a:2 accept": {{Reason: "no rule matched"}, rule("a", 2, "accept")},
	} {
		if got := decidersText(list); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestARowIsAsExpected(t *testing.T) {
	rule := []Decider{{File: "a", Line: 1, Action: "drop"}}
	for _, test := range []struct {
		name        string
		should, did Outcome
		by          []Decider
		guarded     bool
		want        bool
	}{
		{"works", Works, Works, rule, true, true},
		{"works without a filter", Works, Works, nil, false, true},
		{"refused without a filter", Refused, Refused, nil, false, true},
		{"blocked by a rule", Blocked, Blocked, rule, true, true},
		{"blocked, but not by the port", Blocked, Blocked, nil, true, false},
		{"works where it should be blocked", Blocked, Works, rule, true, false},
		{"refused where it should be blocked", Blocked, Refused, rule, true, false},
		{"blocked where it should work", Works, Blocked, rule, true, false},
		{"failed", Works, Failed, rule, true, false},
	} {
		r := Row{Should: test.should, Did: test.did, DecidedBy: test.by}
		if r.judge(test.guarded); r.OK != test.want {
			t.Errorf("%s: %t, want %t", test.name, r.OK, test.want)
		}
	}
}
