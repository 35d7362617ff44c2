// Package monitoring_test holds the dashboard and the alerts against what the
// daemon exposes.
package monitoring_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/metrics"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
)

// host has a port that counted something of everything.
type host struct{}

func (host) Status(context.Context) agent.Status {
	return agent.Status{Daemon: &agent.DaemonStatus{Ready: true}}
}

func (host) Ports(context.Context) ([]agent.Port, []error, error) {
	all := agent.Totals{DroppedFor: map[string]uint64{}, InvalidFor: map[string]uint64{}}
	for r := range verdict.NumReasons {
		all.DroppedFor[r.String()] = 1
	}
	for c := range packet.NumInvalid {
		all.InvalidFor[c.String()] = 1
	}
	return []agent.Port{{Port: datapath.Port{Name: "vnet0", State: datapath.Guarded}, In: all, Out: all}}, nil, nil
}

func (host) Leases(context.Context, string) ([]agent.Lease, []error, error) { return nil, nil, nil }

func (host) Stats(context.Context, string) (*agent.Stats, error) { return &agent.Stats{}, nil }

// exposed are the values of each label of each metric.
type exposed map[string]map[string][]string

var sample = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? \S+$`)
var pair = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

func scrape(t *testing.T) exposed {
	t.Helper()
	events := metrics.NewEvents()
	events.APIRequest("GET /v1/ports", 200, time.Millisecond)
	w := httptest.NewRecorder()
	metrics.New(metrics.Options{Source: host{}, Events: events}).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	// What Prometheus adds.
	all := exposed{"up": {"job": {"tapgate"}}}
	for line := range strings.Lines(w.Body.String()) {
		m := sample.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		if all[m[1]] == nil {
			all[m[1]] = map[string][]string{"instance": nil, "job": nil}
		}
		for _, l := range pair.FindAllStringSubmatch(m[2], -1) {
			all[m[1]][l[1]] = append(all[m[1]][l[1]], l[2])
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b((?:tapgate|process|go)_[a-z_]+|up)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring) \(([^)]*)\)`)
)

// check tells what of an expression is not exposed.
func (e exposed) check(expr string) (faults []string) {
	// What an expression groups by is to be a label of one of its metrics.
	labels := map[string]bool{}
	for _, s := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(expr, ""), -1) {
		metric := e[s[1]]
		if metric == nil {
			faults = append(faults, "there is no metric "+s[1])
			continue
		}
		for label := range metric {
			labels[label] = true
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			values, known := metric[m[1]]
			switch {
			case !known:
				faults = append(faults, fmt.Sprintf("%s has no label %s", s[1], m[1]))
			case strings.HasSuffix(m[2], "~"): // the dashboard's variables
			case !slices.Contains(values, m[3]):
				faults = append(faults, fmt.Sprintf("%s has no %s %q", s[1], m[1], m[3]))
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(g[1], ", ") {
			if !labels[label] {
				faults = append(faults, "no metric has the label "+label)
			}
		}
	}
	return faults
}

func TestCheckFindsWhatIsNotExposed(t *testing.T) {
	e := scrape(t)
	for expr, want := range map[string]string{
		`tapgate_paquets_total`:                                 "there is no metric tapgate_paquets_total",
		`rate(tapgate_packets_total{fate="lost"}[5m])`:          `tapgate_packets_total has no fate "lost"`,
		`tapgate_ports{reason="rule"}`:                          "tapgate_ports has no label reason",
		`sum by (instance, verdict) (tapgate_packets_total)`:    "no metric has the label verdict",
		`sum by (port) (tapgate_connections{instance=~"$i"})`:   "",
		`histogram_quantile(0.5, tapgate_no_seconds_bucket)`:    "there is no metric tapgate_no_seconds_bucket",
		`up{job="tapgate"} == 0 and go_goroutines > 1`:          "",
		`up{job="node"} == 0`:                                   `up has no job "node"`,
		`tapgate_dropped_packets_total{reason!="first_frag"}`:   `tapgate_dropped_packets_total has no reason "first_frag"`,
		`tapgate_invalid_packets_total{cause="tcp_window"} > 0`: "",
	} {
		if got := strings.Join(e.check(expr), "; "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// alerts gives the expressions of alerts.yaml, each of which is one line.
func alerts(t *testing.T) (list []string) {
	t.Helper()
	text, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllSubmatch(text, -1) {
		list = append(list, string(m[1]))
	}
	if n := strings.Count(string(text), "- alert:"); n != len(list) {
		t.Fatalf("%d expressions of %d alerts could be read", len(list), n)
	}
	return list
}

func TestAlertsAreOfWhatIsExposed(t *testing.T) {
	e := scrape(t)
	for _, expr := range alerts(t) {
		for _, fault := range e.check(expr) {
			t.Errorf("%s: %s", expr, fault)
		}
	}
}

type dashboard struct {
	SchemaVersion int
	Panels        []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("grafana-dashboard.json")
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDashboardIsOfWhatIsExposed(t *testing.T) {
	d, e := readDashboard(t), scrape(t)
	shown := ""
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			shown += target.Expr + "\n"
			for _, fault := range e.check(target.Expr) {
				t.Errorf("panel %q: %s", p.Title, fault)
			}
		}
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		for _, fault := range e.check(v.Definition) {
			t.Errorf("variable %s: %s", v.Name, fault)
		}
	}
	if want := []string{"datasource", "instance", "port"}; !slices.Equal(variables, want) {
		t.Errorf("variables %q, want %q", variables, want)
	}
	// What is exposed is there to be seen.
	seen := shown + strings.Join(alerts(t), "\n")
	for name := range e {
		name = strings.TrimSuffix(name, "_bucket")
		base := strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
		if strings.HasPrefix(name, "tapgate_") && !strings.Contains(seen, base) && !slices.Contains(notShown, name) {
			t.Errorf("neither a panel nor an alert shows %s", name)
		}
	}
}

// notShown are of use for a closer look only.
var notShown = []string{"tapgate_scrape_errors_total", "tapgate_scrape_duration_seconds"}

func TestPanelsDoNotOverlap(t *testing.T) {
	d := readDashboard(t)
	cells, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q has no id of its own", p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X+g.W > 24 {
			t.Errorf("panel %q is wider than the grid", p.Title)
		}
		for x := range g.W {
			for y := range g.H {
				cell := [2]int{g.X + x, g.Y + y}
				if cells[cell] != "" {
					t.Fatalf("panel %q covers %q", p.Title, cells[cell])
				}
				cells[cell] = p.Title
			}
		}
	}
}

// TestPromtool has Prometheus' own parser read all expressions, and tries the
// alerts on series.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs promtool, which judges the alerts as Prometheus does (Debian: apt-get install prometheus)")
	}
	// A recording rule for each of the dashboard's expressions.
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m").Replace(target.Expr)
			text, err := json.Marshal(expr) // YAML has JSON's strings
			if err != nil {
				t.Fatal(err)
			}
			rules += fmt.Sprintf("  - record: panel:%d\n    expr: %s\n    labels: {panel: %q}\n", p.ID, text, p.Title+expr)
		}
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "alerts.yaml", path},
		{"test", "rules", "testdata/alerts_test.yaml"},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
