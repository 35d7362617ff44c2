package policytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tapgate/internal/verdict"
)

func TestJudge(t *testing.T) {
	pass, drop := Outcome{}, Outcome{Verdict: verdict.Drop}
	reject := Outcome{Verdict: verdict.Reject}
	other := Outcome{Verdict: verdict.Drop, Reason: verdict.TableFull}
	for _, row := range []struct {
		fact          string
		engine        Engine
		eval, program Outcome
		expect        Expect
		explained     string
		fault, known  string
	}{
		{"as expected", Eval, pass, pass, "pass", "", "", ""},
		{"a reject is a drop", Eval, reject, pass, "drop", "", "", ""},
		{"not as expected", Eval, pass, pass, "drop", "", "wrong verdict", ""},
		{"a difference explains", Eval, pass, pass, "drop", "x", "", "x"},
		{"both agree", Both, pass, pass, "pass", "", "", ""},
		{"both are explained", Both, pass, pass, "drop", "x", "", "x"},
		{"nothing explains that they disagree", Both, pass, drop, "drop", "x", "the engines disagree", ""},
		{"not even about the reason", Both, drop, other, "drop", "x", "the engines disagree", ""},
		{"the program alone", EBPF, pass, drop, "drop", "", "", ""},
		{"the program alone, wrong", EBPF, drop, pass, "drop", "x", "wrong verdict", ""},
		{"the program alone, explained", EBPF, pass, pass, "drop", "x", "", "x"},
	} {
		r := packetResult{eval: row.eval, program: &row.program}
		r.judge(row.engine, row.expect, func() string { return row.explained })
		if r.fault != row.fault || r.known != row.known {
			t.Errorf("%s: fault %q known %q, want %q and %q", row.fact, r.fault, r.known, row.fault, row.known)
		}
	}
}

func parse(t *testing.T, src string) *Test {
	t.Helper()
	test, err := Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	test.Path = "x.json"
	return test
}

const frame = "52540000000152540000009908060001080006040001525400000099" + "0a000009" + "000000000000" + "0a000005"

func testOf(filter, rest string) string {
	return fmt.Sprintf(`{"name":"x","filters":[%q],"binding":{"mac":"52:54:00:00:00:01","filter":"x"},%s}`, filter, rest)
}

func sequences(expect ...string) string {
	var packets []string
	for _, e := range expect {
		packets = append(packets, fmt.Sprintf(`{"dir":"in","frame":%q,"note":"arp","expect":%q}`, frame, e))
	}
	return `"sequences":[{"note":"about arp","packets":[` + strings.Join(packets, ",") + `]}]`
}

func TestRunFile(t *testing.T) {
	dropARP := `<filter name="x"><rule action="drop" direction="in"><arp/></rule></filter>`
	connlimit := `<filter name="x"><rule action="drop" direction="in"><tcp connlimit-above="1001"/></rule></filter>`
	dropSet := `<filter name="x"><rule action="drop" direction="in"><all ipset="s" ipsetflags="src"/></rule></filter>`
	missing := `<filter name="x"><rule action="drop" direction="in"><arp arpsrcipaddr="$OTHER"/></rule></filter>`
	for _, row := range []struct {
		fact, src               string
		passed, failed, skipped int
		fault                   string
	}{
		{"packets are counted", testOf(dropARP, sequences("drop", "drop")), 2, 0, 0, ""},
		{"a wrong verdict fails", testOf(dropARP, sequences("drop", "pass")), 1, 1, 0, "wrong verdict"},
		{"a refused filter fails every packet", testOf("<filter name='x'><rool/></filter>", sequences("pass", "pass")), 0, 2, 0, "define filter 1: filter-1.xml:1:18"},
		{"a filter that cannot be bound too", testOf(missing, sequences("pass", "pass")), 0, 2, 0, "bind: filter-1.xml:1"},
		{"an expected refusal passes", testOf("<filter name='x'><rool/></filter>", `"expect_error":{"stage":"define x"}`), 1, 0, 0, ""},
		{"at the right stage only", testOf("<filter name='x'><rool/></filter>", `"expect_error":{"stage":"bind"}`), 0, 1, 0, "but was at another: define"},
		{"binding finds what defining does not", testOf(missing, `"expect_error":{"stage":"define x"}`), 1, 0, 0, ""},
		{"nothing to refuse", testOf(dropARP, `"expect_error":{"stage":"bind"}`), 0, 1, 0, "but was accepted"},
		{"what cannot be enforced is skipped", testOf(connlimit, sequences("pass", "pass", "drop")), 0, 0, 3, ""},
		{"a member that cannot be read", testOf(dropSet, `"environment":{"ipsets":[{"name":"s","type":"hash:ip","members":["10.0.0"]}]},`+sequences("drop")), 0, 1, 0, `member "10.0.0" of the set "s" (hash:ip): "10.0.0" is no address`},
		{"a type that is not supported", testOf(dropSet, `"environment":{"ipsets":[{"name":"s","type":"list:set","members":[]}]},`+sequences("drop")), 0, 1, 0, "type list:set, which is not supported"},
		{"a set that the environment lacks", testOf(dropSet, sequences("drop")), 0, 1, 0, `name the set "s", which the environment does not have`},
	} {
		r := RunFile(parse(t, row.src), Eval)
		if r.Passed != row.passed || r.Failed != row.failed || r.Skipped != row.skipped {
			t.Errorf("%s: %s", row.fact, &r.Summary)
		}
		if (r.Skipped > 0) != (len(r.SkippedFor) > 0) {
			t.Errorf("%s: skipped for %v", row.fact, r.SkippedFor)
		}
		var told []string
		for _, f := range r.Failures {
			told = append(told, f.String())
		}
		if got := strings.Join(told, "\n"); (got == "") != (row.fault == "") || !strings.Contains(got, row.fault) {
			t.Errorf("%s: failures %q, want %q", row.fact, got, row.fault)
		}
	}
}

func TestAFailureNamesPlaceAndRule(t *testing.T) {
	src := testOf(`<filter name="x"><rule action="drop" direction="in"><arp/></rule></filter>`, sequences("drop", "pass"))
	r := RunFile(parse(t, src), Eval)
	want := `FAIL x.json sequence 1 (about arp) packet 2: arp
  wrong verdict
  expected  pass
  eval      drop: a rule decided, filter-1.xml:1 of filter x: drop ethertype=arp`
	if len(r.Failures) != 1 || r.Failures[0].String() != want {
		t.Errorf("got %v, want %s", r.Failures, want)
	}
}

func TestRunKeepsTheOrderOfFiles(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 40 {
		path := filepath.Join(dir, fmt.Sprintf("%02d.json", i))
		// The first ones take longest.
		expect := slices.Repeat([]string{"pass"}, 1+20*(40-i))
		if err := os.WriteFile(path, []byte(testOf("<filter name='x'/>", sequences(expect...))), 0o644); err != nil {
			t.Fatal(err)
		}
		want = append(want, path)
	}
	var got []string
	s, err := Run(t.Context(), []string{dir}, Options{Engine: Eval, Workers: 4, Done: func(r *FileResult) { got = append(got, r.Path) }})
	if err != nil || !slices.Equal(got, want) || s.Files != 40 || s.Failed != 0 {
		t.Errorf("%v, %s, order %v", err, &s, got)
	}
	if err := os.WriteFile(filepath.Join(dir, "20.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), []string{dir}, Options{Engine: Eval}); err == nil || !strings.Contains(err.Error(), "20.json: ") {
		t.Errorf("a file that cannot be read: error %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Run(stopped, []string{dir}, Options{Engine: Eval}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

func TestSummaryString(t *testing.T) {
	var s Summary
	for _, id := range []string{"b", "a", "c", "c"} {
		s.add(&Summary{Passed: 2, Failed: 1, Known: map[string]int{id: 1}})
	}
	if want := "4 known (c 2, a 1, b 1)\n8 passed, 4 failed, 0 skipped"; s.String() != want {
		t.Errorf("%q, want %q", s.String(), want)
	}
	if want := "0 known\n0 passed, 0 failed, 0 skipped"; (&Summary{}).String() != want {
		t.Errorf("%q, want %q", (&Summary{}).String(), want)
	}
}
