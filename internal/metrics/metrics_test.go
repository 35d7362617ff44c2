package metrics

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
)

var update = flag.Bool("update", false, "write the golden files")

// exposition is what a scrape gives of Tapgate's own.
func exposition(t *testing.T, m *Metrics) string {
	t.Helper()
	_, body := get(t, m.Handler(), "/metrics")
	var b strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, "tapgate_") && !strings.HasPrefix(line, "tapgate_build_info{") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestExposition(t *testing.T) {
	m, _ := newTest(t, example())
	e := m.options.Events
	e.PortChanged(agent.PortUpdated, 40*time.Millisecond)
	e.PortChanged(agent.PortFailed, time.Second)
	e.PortChanged(agent.PortPlanned, time.Second)
	e.Reconciled(noon, 300*time.Millisecond, nil)
	e.Reconciled(noon.Add(time.Minute), time.Second, errors.New("no rights"))
	e.APIRequest("GET /v1/ports", 200, 2*time.Millisecond)
	golden(t, "testdata/small.prom", exposition(t, m))
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
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

func TestLint(t *testing.T) {
	m, _ := newTest(t, example())
	m.options.Events.APIRequest("GET /v1/ports", 200, time.Millisecond)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "tapgate_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestPedantic has the registry check that what is collected was described.
func TestPedantic(t *testing.T) {
	m, _ := newTest(t, example())
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(newCollector(m.options), NewEvents())
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}

func TestEveryReasonAndCauseHasAName(t *testing.T) {
	seen := map[string]bool{}
	check := func(kind, name, text string) {
		if name == "" || seen[kind+name] {
			t.Errorf("%s %q has the name %q; expected one of its own", kind, text, name)
		}
		seen[kind+name] = true
	}
	for r, name := range reasons {
		if verdict.Reason(r) != verdict.Default {
			check("reason", name, verdict.Reason(r).String())
		}
	}
	for c, name := range causes {
		if packet.Invalid(c) != packet.NotInvalid {
			check("cause", name, packet.Invalid(c).String())
		}
	}
}

func TestNoAddressIsALabel(t *testing.T) {
	m, _ := newTest(t, example())
	if text := exposition(t, m); strings.Contains(text, "52:54") {
		t.Error("the exposition has a MAC address")
	}
}

func TestManyPortsHaveBoundedSeries(t *testing.T) {
	f := example()
	for i := range 500 {
		f.ports = append(f.ports, counted(fmt.Sprintf("tap%d", i), 10))
	}
	m, now := newTest(t, f, func(o *Options) { o.MaxPorts = 20 })
	names := map[string]bool{}
	for range 3 {
		*now = now.Add(time.Minute)
		for _, family := range must(m.registry.Gather()) {
			for _, metric := range family.Metric {
				for _, label := range metric.Label {
					if label.GetName() == "port" {
						names[label.GetValue()] = true
					}
				}
			}
		}
	}
	if len(names) != 21 || !names["other"] || !names["vnet0"] {
		t.Errorf("%d values of port, want 20 and other: %v", len(names), names)
	}
	if n, err := testutil.GatherAndCount(m.registry, "tapgate_connections"); err != nil || n != 21 {
		t.Errorf("%d series of tapgate_connections, %v; want 21", n, err)
	}
}

func TestRowsOfManyPorts(t *testing.T) {
	f := &fake{}
	m, now := newTest(t, f, func(o *Options) { o.MaxPorts = 1 })
	steps := []struct {
		what  string
		ports []agent.Port
		want  string
	}{
		{"what was counted before the first look is left out of other",
			[]agent.Port{counted("a", 5), counted("b", 1000), counted("c", 10)}, "a=5 other=0"},
		{"other counts what is new", []agent.Port{counted("a", 6), counted("b", 1007), counted("c", 12)}, "a=6 other=9"},
		{"other does not count backwards when a port goes", []agent.Port{counted("a", 6), counted("c", 12)}, "a=6 other=9"},
		{"nor twice when it was missing for a moment", []agent.Port{counted("a", 6), counted("b", 1008), counted("c", 12)}, "a=6 other=10"},
		{"a new port counts from its beginning", []agent.Port{counted("a", 6), counted("c", 12), counted("d", 4)}, "a=6 other=14"},
		{"a port that counts anew adds what it counted since", []agent.Port{counted("a", 6), counted("c", 2), counted("d", 4)}, "a=6 other=16"},
		{"a free row goes to the next", []agent.Port{counted("c", 3), counted("d", 5)}, "c=3 other=17"},
		{"other stays", []agent.Port{counted("c", 4)}, "c=4 other=17"},
		{"no label is invalid, none a port's that is other's", []agent.Port{counted("c", 4), counted("\xff", 1), counted("other", 2)}, "c=4 other=20"},
		{"a port that is listed twice is told of once", []agent.Port{counted("c", 4), counted("c", 4)}, "c=4 other=20"},
	}
	for _, step := range steps {
		f.set(step.ports...)
		*now = now.Add(time.Minute)
		var got []string
		for _, family := range must(m.registry.Gather()) {
			if family.GetName() != "tapgate_packets_total" {
				continue
			}
			for _, metric := range family.Metric {
				labels := map[string]string{}
				for _, l := range metric.Label {
					labels[l.GetName()] = l.GetValue()
				}
				if labels["direction"] == "in" && labels["fate"] == "passed" {
					got = append(got, fmt.Sprintf("%s=%v", labels["port"], metric.Counter.GetValue()))
				}
			}
		}
		if text := strings.Join(got, " "); text != step.want {
			t.Errorf("%s: %s, want %s", step.what, text, step.want)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAnAnswerIsGivenAgainWhileItIsFresh(t *testing.T) {
	f := example()
	m, now := newTest(t, f)
	for range 3 {
		exposition(t, m)
	}
	*now = now.Add(999 * time.Millisecond)
	exposition(t, m)
	if n := f.asked.Load(); n != 1 {
		t.Errorf("the ports were looked at %d times within a second, want once", n)
	}
	*now = now.Add(time.Millisecond)
	exposition(t, m)
	if n := f.asked.Load(); n != 2 {
		t.Errorf("the ports were looked at %d times, want a second time after a second", n)
	}
}

// TestConcurrentScrapes has many scrape at once, and the answer never fresh.
func TestConcurrentScrapes(t *testing.T) {
	f := example()
	m := New(Options{Source: f, Events: NewEvents(), MaxAge: time.Nanosecond})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if _, err := m.registry.Gather(); err != nil {
					t.Error(err)
				}
				m.options.Events.APIRequest("GET /v1/ports", 200, time.Millisecond)
				m.options.Events.PortChanged(agent.PortUpdated, time.Millisecond)
			}
		})
	}
	all.Wait()
}

func TestAFailureIsSeen(t *testing.T) {
	for name, break_ := range map[string]func(*fake){
		"an error": func(f *fake) { f.err = datapath.ErrNeedsRoot },
		"a panic":  func(f *fake) { f.before = func() { panic("a bug") } },
	} {
		t.Run(name, func(t *testing.T) {
			f := example()
			break_(f)
			m, now := newTest(t, f)
			text := exposition(t, m)
			for _, want := range []string{"\ntapgate_scrape_error 1\n", "\ntapgate_scrape_errors_total 1\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			if strings.Contains(text, "port=") {
				t.Errorf("ports that could not be looked at:\n%s", text)
			}
			f.err, f.before = nil, nil
			*now = now.Add(time.Second)
			if text := exposition(t, m); !strings.Contains(text, "\ntapgate_scrape_error 0\n") || !strings.Contains(text, `port="vnet0"`) {
				t.Errorf("the failure does not end:\n%s", text)
			}
		})
	}
}

func TestTheTableIsAskedOfAPortThatIsThere(t *testing.T) {
	f := example()
	f.ports = append([]agent.Port{port("vanished", datapath.Guarded)}, f.ports...)
	for _, ports := range [][]agent.Port{f.ports, {port("learning", agent.LearningState)}} {
		f.ports = ports
		m, _ := newTest(t, f)
		if text := exposition(t, m); !strings.Contains(text, "\ntapgate_host_connections 75\n") {
			t.Errorf("no table in\n%s", text)
		}
	}
}

func TestWhatCountsAsUnguarded(t *testing.T) {
	unbound := port("unbound", datapath.Foreign)
	unbound.Bound = false
	byDefault := port("default", datapath.Unguarded)
	byDefault.Bound, byDefault.Default = false, true
	f := &fake{ports: []agent.Port{
		port("guarded", datapath.Guarded), port("half", datapath.HalfSwapped), port("gone", datapath.DeviceGone),
		port("elsewhere", datapath.Elsewhere), port("foreign", datapath.Foreign), unbound, byDefault, port("learning", agent.LearningState),
	}}
	m, _ := newTest(t, f)
	var got []string
	for line := range strings.Lines(exposition(t, m)) {
		if strings.HasPrefix(line, "tapgate_port_unguarded{") && strings.HasSuffix(line, " 1\n") {
			got = append(got, line)
		}
	}
	want := []string{"tapgate_port_unguarded{port=\"default\"} 1\n", "tapgate_port_unguarded{port=\"foreign\"} 1\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unguarded (-want +got):\n%s", diff)
	}
}

// A port learns as long as not one of the addresses that it wants is known.
func TestWhatCountsAsLearning(t *testing.T) {
	learning := func(name string, state datapath.State, waiting ...string) agent.Port {
		p := port(name, state)
		p.Learning = &datapath.Learning{Mode: "any", Wants: []string{"IP", "IPV6"}, Waiting: waiting}
		return p
	}
	f := &fake{ports: []agent.Port{
		port("told", agent.LearningState), learning("waits", agent.LearningState, "IP", "IPV6"), learning("half", datapath.Guarded, "IPV6"),
		learning("knows", datapath.Guarded), learning("shut", datapath.Shut, "IP", "IPV6"), port("guarded", datapath.Guarded),
	}}
	m, _ := newTest(t, f)
	text := exposition(t, m)
	for _, want := range []string{
		`tapgate_port_learning{port="told"} 1`, `tapgate_port_learning{port="waits"} 1`, `tapgate_port_learning{port="half"} 0`, `tapgate_port_learning{port="knows"} 0`,
		`tapgate_port_learning{port="shut"} 0`, `tapgate_port_learning{port="guarded"} 0`,
		`tapgate_ports{state="learning"} 2`, `tapgate_ports{state="guarded"} 3`, "tapgate_unguarded_ports 0",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Frames are counted by what they are and what became of them. A port that learns
// nothing has no such series.
func TestObservedFrames(t *testing.T) {
	learning := port("vnet0", agent.LearningState)
	learning.Observed = datapath.Observed{
		In:     datapath.ObservedCounts{Told: 1, Limited: 2, Lost: 3},
		Out:    datapath.ObservedCounts{Told: 4, Limited: 5, Lost: 6},
		Claims: datapath.ObservedCounts{Told: 7, Lost: 9},
	}
	m, _ := newTest(t, &fake{ports: []agent.Port{learning, port("vnet1", datapath.Guarded)}})
	var got []string
	for line := range strings.Lines(exposition(t, m)) {
		if rest, ok := strings.CutPrefix(line, "tapgate_observed_frames_total"); ok {
			got = append(got, strings.TrimSpace(rest))
		}
	}
	want := []string{
		`{kind="claim",port="vnet0",result="lost"} 9`, `{kind="claim",port="vnet0",result="told"} 7`,
		`{kind="in",port="vnet0",result="limited"} 2`, `{kind="in",port="vnet0",result="lost"} 3`, `{kind="in",port="vnet0",result="told"} 1`,
		`{kind="out",port="vnet0",result="limited"} 5`, `{kind="out",port="vnet0",result="lost"} 6`, `{kind="out",port="vnet0",result="told"} 4`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAStateThatIsNewIsNotTakenForGuarded(t *testing.T) {
	f := &fake{ports: []agent.Port{port("vnet0", "a state of the next version")}}
	m, _ := newTest(t, f)
	for _, want := range []string{"tapgate_unguarded_ports 1\n", `tapgate_port_unguarded{port="vnet0"} 1`, `tapgate_ports{state="other"} 1`} {
		if text := exposition(t, m); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestEventsAreBounded(t *testing.T) {
	e := NewEvents()
	for i := range 1000 {
		e.APIRequest(fmt.Sprintf("GET /v1/ports/vnet%d", i), i, time.Millisecond)
		e.PortChanged(agent.PortResult(fmt.Sprint(i)), time.Millisecond)
	}
	if n := testutil.CollectAndCount(e.requestTime); n != maxRoutes+1 {
		t.Errorf("%d routes, want %d and other", n, maxRoutes)
	}
	if n := testutil.CollectAndCount(e.changes); n != len(results)+1 {
		t.Errorf("%d results, want %d and other", n, len(results))
	}
	var none *Events
	none.APIRequest("GET /", 200, 0)
	none.PortChanged(agent.PortUpdated, 0)
	none.Reconciled(noon, 0, nil)
}

func BenchmarkScrape(b *testing.B) {
	f := &fake{}
	for i := range 1000 {
		f.ports = append(f.ports, counted(fmt.Sprintf("vnet%d", i), 10))
	}
	m := New(Options{Source: f, MaxAge: time.Nanosecond})
	for b.Loop() {
		if _, err := m.registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
