package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapgate/client"
)

// bound stores a binding whose guest's addresses are to be learned, with leases, as
// they are kept.
func (s *session) bound(port, mode string, leases ...string) {
	s.Helper()
	xml := fmt.Sprintf(`<filterbinding>
  <owner><name>%[1]s</name><uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid></owner>
  <portdev name='%[1]s'/>
  <mac address='52:54:00:00:00:01'/>
  <filterref filter='clean-traffic'><parameter name='CTRL_IP_LEARNING' value='%[2]s'/></filterref>
</filterbinding>`, port, mode)
	text := `{"form": 1, "leases": [` + strings.Join(leases, ",") + `]}`
	for path, text := range map[string]string{"bindings/" + port + ".xml": xml, "leases/52-54-00-00-00-01@" + port + ".json": text} {
		path = filepath.Join(s.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			s.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			s.Fatal(err)
		}
	}
}

// leaseText is a lease as it is kept; rest are its other parts.
func leaseText(address, source, rest string) string {
	return fmt.Sprintf(`{"address":%q,"source":%q,"learned":"2026-05-04T10:00:00Z","renewed":"2026-05-04T10:00:00Z"%s}`, address, source, rest)
}

func inAnHour() string {
	return `,"end":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`
}

// leases are what is printed, without the head and the times at which they were learned.
func (s *session) leases(args string) string {
	s.Helper()
	out, _ := s.ok("leases " + args)
	var lines []string
	for line := range strings.Lines(times.ReplaceAllString(out, "…")) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines[1:], "\n")
}

func TestLeases(t *testing.T) {
	s := newSession(t)
	out, _ := s.ok("leases")
	s.says(out, "no address is learned; \"tapgate leases --help\" tells how they are\n")
	out, _ = s.ok("leases --json")
	s.says(out, "[]\n")
	s.bound("vnet0", "dhcp",
		leaseText("10.0.0.20/32", "dhcp", `,"server":"10.0.0.1"`+inAnHour()), leaseText("10.0.0.5/32", "dhcp", `,"pinned":true`),
		leaseText("10.0.0.7/32", "dhcp", `,"end":"2026-05-04T11:00:00Z"`), leaseText("2001:db8:1::/56", "dhcpv6-pd", ""))
	s.bound("vnet1", "any", leaseText("10.0.0.9/32", "arp", ""))
	const vnet0 = `vnet0 10.0.0.5 dhcp - … pinned yes
vnet0 10.0.0.7 dhcp - … ended no
vnet0 10.0.0.20 dhcp 10.0.0.1 … in 60m yes
vnet0 2001:db8:1::/56 dhcpv6-pd - … never no`
	if diff := cmp.Diff(vnet0, s.leases("vnet0")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(vnet0+"\nvnet1 10.0.0.9 arp - … never yes", s.leases("")); diff != "" {
		t.Error(diff)
	}
	out, _ = s.ok("leases")
	s.says(out, "PORT   ADDRESS          SOURCE     SERVER    LEARNED              ENDS    IN USE\n")
	out, _ = s.ok("leases vnet1 --json")
	var list []client.Lease
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].Address != "10.0.0.9" || !list[0].InUse || list[0].Port != "vnet1" {
		t.Errorf("%v: %s", err, out)
	}
	s.fails("leases vnet9", `tapgate: port "vnet9" is not bound; "tapgate list" shows what is`)
	// What cannot be read is told, and the rest is shown.
	if err := os.WriteFile(filepath.Join(s.dir, "leases", "52-54-00-00-00-01@vnet0.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.says(s.fails("leases", `tapgate: port vnet0: the stored leases of "52-54-00-00-00-01@vnet0" cannot be read: `), "10.0.0.9")
}

func TestLeasesAreChangedByPeople(t *testing.T) {
	s := newSession(t)
	s.bound("vnet0", "dhcp", leaseText("10.0.0.20/32", "dhcp", inAnHour()))
	s.ok("bind vnet2 --filter clean-traffic" + guest)
	skipped := "note: port vnet0: it is not guarded now; it has this once it is bound\n"
	for _, step := range []struct{ line, says, note, then string }{
		{"leases add vnet0 10.0.0.5", "port vnet0: lease of 10.0.0.5 added\n", skipped, "vnet0 10.0.0.5 operator - … never yes\nvnet0 10.0.0.20 dhcp - … in 60m yes"},
		{"leases add vnet0 10.0.0.5 --for 3d", "port vnet0: lease of 10.0.0.5 replaced, ends in 3d\n", "", "vnet0 10.0.0.5 operator - … in 3d yes\nvnet0 10.0.0.20 dhcp - … in 60m yes"},
		{"leases pin vnet0 10.0.0.20", "port vnet0: lease of 10.0.0.20 pinned\n", "", "vnet0 10.0.0.5 operator - … in 3d yes\nvnet0 10.0.0.20 dhcp - … pinned yes"},
		{"leases pin vnet0 10.0.0.20", "port vnet0: lease of 10.0.0.20 unchanged\n", "", "vnet0 10.0.0.5 operator - … in 3d yes\nvnet0 10.0.0.20 dhcp - … pinned yes"},
		{"leases unpin vnet0 10.0.0.20", "port vnet0: lease of 10.0.0.20 unpinned, ends in 60m\n", "", "vnet0 10.0.0.5 operator - … in 3d yes\nvnet0 10.0.0.20 dhcp - … in 60m yes"},
		{"leases delete vnet0 10.0.0.20", "port vnet0: lease of 10.0.0.20 deleted\n", "note: the guest may have it again when a DHCP server gives it\n" + skipped, "vnet0 10.0.0.5 operator - … in 3d yes"},
	} {
		out, note := s.ok(step.line)
		if out != step.says || note != step.note {
			t.Errorf("%s: %q %q, want %q %q", step.line, out, note, step.says, step.note)
		}
		if diff := cmp.Diff(step.then, s.leases("vnet0")); diff != "" {
			t.Errorf("%s: %s", step.line, diff)
		}
	}
	out, _ := s.ok("leases delete vnet0 10.0.0.5 --json")
	var done client.LeaseChange
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.What != client.LeaseDeleted || done.Lease.Address != "10.0.0.5" || done.Change.Result != client.PortSkipped {
		t.Errorf("%v: %s", err, out)
	}
	want := []string{
		"lease-add leases vnet0, done: 10.0.0.5 10.0.0.20", "lease-add leases vnet0, done: 10.0.0.5 10.0.0.20", "lease-pin leases vnet0, done: 10.0.0.5 10.0.0.20",
		"lease-unpin leases vnet0, done: 10.0.0.5 10.0.0.20", "lease-delete leases vnet0, done: 10.0.0.5", "lease-delete leases vnet0, done",
	}
	if diff := cmp.Diff(want, s.changes("vnet0")); diff != "" {
		t.Error(diff)
	}
	out, _ = s.ok("history vnet0")
	s.says(out, " lease-pin port vnet0 10.0.0.20 ")

	for line, fault := range map[string]string{
		"leases add vnet9 10.0.0.5":          `tapgate: port "vnet9" is not bound; "tapgate list" shows what is`,
		"leases add vnet2 10.0.0.5":          "tapgate: port vnet2: its binding gives $IP itself, so that a lease of 10.0.0.5 has no effect",
		"leases add vnet0 2001:db8:1::/56":   `tapgate: port vnet0: filter "clean-traffic" does not ask for $IPV6`,
		"leases pin vnet0 10.0.0.6":          "tapgate: port vnet0 has no lease of 10.0.0.6; it has none",
		"leases unpin vnet0 10.0.0.6":        "tapgate: port vnet0 has no lease of 10.0.0.6; it has none",
		"leases delete vnet0 2001:db8::/120": "tapgate: port vnet0 has no lease of 2001:db8::/120; it has none",
	} {
		s.fails(line, fault)
	}
	for line, fault := range map[string]string{
		"leases add vnet0":                           `"tapgate leases add" needs a port and an address`,
		"leases add vnet0 10.0.0.5 10.0.0.6":         `"tapgate leases add" takes only a port and an address, so "10.0.0.6" is too much`,
		"leases vnet0 10.0.0.5":                      `"tapgate leases" takes only a port, so "10.0.0.5" is too much`,
		"leases add vnet0 10.0.0":                    `"10.0.0" is no address of a guest: expected one such as 10.0.0.5`,
		"leases add vnet0 ff02::1":                   "ff02::1 cannot be a guest's: ff00::/8 are multicast addresses",
		"leases delete vnet0 10.0.0.0/24":            "10.0.0.0/24 is a network",
		"leases add vnet0 10.0.0.5 --for -1h":        `--for "-1h" is no time that a lease can last; write 30m, 12h, 7d`,
		"leases add vnet0 10.0.0.5 --for 0s":         `--for "0s" is no time`,
		"leases add vnet0 10.0.0.5 --for tomorrow":   `--for "tomorrow" is no time`,
		"leases add vnet0 10.0.0.5 --for 99999999d":  `--for "99999999d" is no time`,
		"leases add vnet0 10.0.0.5 --for 1d2h":       `--for "1d2h" is no time`,
		"leases pin vnet0 10.0.0.5 --for 1h":         "there is no flag --for",
		"leases add vnet0 10.0.0.5 --json=perhaps":   "--json",
		"leases delete vnet0 2001:db8::1/64 --json ": "2001:db8::1/64 has bits behind its prefix; expected 2001:db8::/64",
	} {
		code, _, stderr := s.run(line)
		if code != exitUsage || !strings.Contains(stderr, fault) {
			t.Errorf("%s: exit code %d: %s, want %s", line, code, stderr, fault)
		}
	}
	s.leases("vnet0") // there is still nothing, and no fault
}

func TestEndsOfLeases(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]string{
		time.Nanosecond: "in 1s", 90 * time.Second: "in 90s", 2 * time.Minute: "in 120s", 2*time.Minute + time.Second: "in 3m", 12*time.Minute - time.Millisecond: "in 12m",
		2 * time.Hour: "in 120m", 2*time.Hour + time.Minute: "in 2h01m", 48*time.Hour - time.Second: "in 48h00m", 49 * time.Hour: "in 3d", 365 * 24 * time.Hour: "in 365d",
		-time.Hour: "ended", 0: "ended",
	} {
		if got := leaseEnd(&client.Lease{End: now.Add(left)}, now); got != want {
			t.Errorf("%s: %s, want %s", left, got, want)
		}
	}
	for text, want := range map[string]time.Duration{"30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 7 * 24 * time.Hour, "36500d": 36500 * 24 * time.Hour} {
		if end, err := parseLasting(text, now); err != nil || !end.Equal(now.Add(want)) {
			t.Errorf("%s ends at %s (%v)", text, end, err)
		}
	}
}

func TestPortsThatLearn(t *testing.T) {
	port := func(name, state string, change func(*client.Port)) client.Port {
		p := client.Port{Name: name, State: state, Filter: "f", MAC: "m"}
		change(&p)
		return p
	}
	ports := []client.Port{
		port("nothing", "learning", func(p *client.Port) {
			p.Learning = &client.Learning{Mode: "any", Wants: []string{"IP"}, Waiting: []string{"IP"}}
		}),
		port("told", "learning", func(p *client.Port) {
			p.Learning = &client.Learning{Mode: "dhcp", Wants: []string{"IP", "IPV6"}, Waiting: []string{"IP", "IPV6"}}
		}),
		port("half", "guarded", func(p *client.Port) {
			p.Addresses = []string{"10.0.0.5", "10.0.0.6"}
			p.Learning = &client.Learning{Mode: "any", Wants: []string{"IP", "IPV6"}, Waiting: []string{"IPV6"}}
		}),
		port("all", "guarded", func(p *client.Port) {
			p.Addresses = []string{"10.0.0.7"}
			p.Learning = &client.Learning{Mode: "any", Wants: []string{"IP"}, Offered: true}
		}),
		port("given", "guarded", func(*client.Port) {}),
		port("gone", "shut", func(p *client.Port) {
			p.Learning = &client.Learning{Mode: "any", Wants: []string{"IP"}, Waiting: []string{"IP"}}
		}),
	}
	var out bytes.Buffer
	tool := &tool{stdout: &out, stderr: &out}
	tool.printPorts(ports)
	const want = `PORT|STATE|FILTER|MAC|PARAMETERS|LEARNED|IN PASSED|DROPPED|OUT PASSED|DROPPED|CONNECTIONS
nothing|learning|f|m|-|no IP yet|0|0|0|0|0
told|learning|f|m|-|no IP yet, no IPV6 yet|0|0|0|0|0
half|guarded|f|m|-|10.0.0.5, 10.0.0.6, no IPV6 yet|0|0|0|0|0
all|guarded|f|m|-|10.0.0.7, offered only|0|0|0|0|0
given|guarded|f|m|-|-|0|0|0|0|0
gone|shut|f|m|-|no IP yet|0|0|0|0|0
`
	if diff := cmp.Diff(want, regexp.MustCompile(` {2,}`).ReplaceAllString(out.String(), "|")); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	tool.printPorts(ports[4:5])
	if strings.Contains(out.String(), "LEARNED") {
		t.Errorf("a column of nothing: %s", out.String())
	}
	for i, text := range map[int]string{
		1: "port told: learning, filter f, guest m\nlearned by dhcp: no IP yet, no IPV6 yet\nconnections: ",
		2: "port half: guarded, filter f, guest m\nlearned by any: 10.0.0.5, 10.0.0.6, no IPV6 yet\nconnections: ",
		4: "port given: guarded, filter f, guest m\nconnections: ",
	} {
		out.Reset()
		tool.printStats(&client.Stats{Port: ports[i]}, false)
		if !strings.HasPrefix(out.String(), text) {
			t.Errorf("%s, want %s", out.String(), text)
		}
	}
}
