package demo

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// show prints a report with a surprise in each kind of step.
func show(color bool) string {
	var b bytes.Buffer
	p := &printer{w: &b, color: color, whatWidth: len("udp port 9999")}
	r := &Report{Times: Times{SetUp: 0.1, Programs: 0.2, Answers: 0.3, Silence: 1.4, CleanUp: 0.05, Total: 2.06}}
	rule := func(line int, action string) []Decider {
		return []Decider{{File: "examples/a.xml", Line: line, Action: action, Packets: 1}}
	}
	for _, step := range []*Step{
		{Title: "Without a filter", Rows: []Row{
			{Direction: "in", What: "ssh", Should: Works, Did: Works, OK: true},
			{Direction: "in", What: "http", Should: Works, Did: Refused, Error: "http: connection refused"},
		}},
		{Title: "Filter A", File: "examples/a.xml", Mechanism: "tcx", InForceAfter: 0.123, Rows: []Row{
			{Direction: "in", What: "ssh", Should: Works, Did: Works, OK: true, DecidedBy: rule(4, "accept")},
			{Direction: "in", What: "ftp", Should: Works, Did: Works, OK: true, DecidedBy: rule(5, "accept"), Note: "100 transfers"},
			{Direction: "out", What: "udp port 9999", Should: Blocked, Did: Works, DecidedBy: rule(9, "accept")},
			{Direction: "in", What: "ping", Should: Blocked, Did: Blocked},
		}},
	} {
		r.add(step)
		p.begin(len(r.Steps), step)
		rows := step.Rows
		step.Rows = nil
		for _, row := range rows {
			if row.Did == Blocked {
				row.judge(true)
			}
			r.count(step, row)
			p.row(step, row)
		}
		p.end(step)
	}
	p.conclude(r)
	return b.String()
}

func TestTable(t *testing.T) { golden(t, "table.golden", show(false)) }

func TestColoursOnlyRepeatTheWords(t *testing.T) {
	colored := show(true)
	for _, want := range []string{red + "FAIL" + plain, green + "ok  " + plain} {
		if !strings.Contains(colored, want) {
			t.Errorf("%q is missing", want)
		}
	}
	stripped := strings.NewReplacer(green, "", red, "", bold, "", plain, "").Replace(colored)
	if diff := cmp.Diff(show(false), stripped); diff != "" {
		t.Error(diff)
	}
}

func TestAReportWithASurpriseIsNotOK(t *testing.T) {
	r := &Report{}
	if r.OK() {
		t.Error("nothing was tried, and all is well")
	}
	step := &Step{}
	r.count(step, Row{OK: true})
	if !r.OK() || step.asExpected() != 1 {
		t.Errorf("one of one as expected: %+v", r)
	}
	r.count(step, Row{})
	if r.OK() || r.Tried != 2 || r.AsExpected != 1 || len(step.Rows) != 2 || step.asExpected() != 1 {
		t.Errorf("one of two as expected: %+v", r)
	}
}
