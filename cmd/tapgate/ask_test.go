package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/client"
	"tapgate/internal/api"
	"tapgate/internal/datapath"
	"tapgate/internal/store"
)

// serve lets an agent of the session's listen at a socket, as a daemon would.
func (s *session) serve() (socket string) {
	s.Helper()
	socket = filepath.Join(s.TempDir(), "s")
	l, err := api.Listen(socket)
	if err != nil {
		s.Fatal(err)
	}
	tool := s.tool(io.Discard, io.Discard)
	tool.bpffs = "/bpffs"
	server := api.NewServer(tool.agent(), api.Limits{}, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	s.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			s.Error(err)
		}
	})
	return socket
}

// runAt runs a command line with other flags than the session's.
func (s *session) runAt(words ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = s.tool(&out, &err).run(s.Context(), words)
	return code, out.String(), err.String()
}

// times are what differs from one run to the next.
var times = regexp.MustCompile(`\d+(\.\d+)? ms|\d\d\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?|\d\d:\d\d:\d\d  |[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12,64}\b`)

// durations are left out where they are 0.
var durations = regexp.MustCompile(`,?\s*"(milliseconds|seconds)": ?[0-9.]+`)

// A command says and does the same, whether a daemon does it or the command itself.
func TestCommandsDoTheSameWithADaemon(t *testing.T) {
	v1 := "<filter name='web'>\n  <rule action='accept' direction='in'><tcp dstportstart='80'/></rule>\n</filter>"
	v2 := "<filter name='web'>\n  <rule action='drop' direction='in'><tcp dstportstart='$PORT'/></rule>\n</filter>"
	lines := []string{
		"filter list", "filter list --json", "filter define V1 FAULTY", "filter define V1", "filter dump web", "filter dump --source web",
		"bind vnet0 --filter web" + guest, "bind vnet0", "bind vnet0 --json", "bind vnet1 --filter V1" + guest, "bind vnet7", "bind vnet0 --filter nothing" + guest,
		"bind --xml DOMAIN", "list", "list --json", "filter define V2", "filter define --dry-run V1", "filter undefine web", "filter undefine nothing",
		"filter rollback web", "filter rollback web --to ffff", "settings", "settings --json", "settings timeout_udp=60", "settings timeout_udp= --json",
		"settings --port vnet0 timeout_udp=9", "settings --port vnet0", "settings --port vnet9", "stats vnet0", "stats vnet0 --json", "stats vnet9",
		"conntrack vnet0", "conntrack vnet0 --json", "conntrack vnet0 --proto tcp", "conntrack vnet0 --expected", "conntrack vnet9", "conntrack vnet0 --flush --proto udp",
		"sets refresh", "sets refresh nothing", "top --once --interval 100ms --json", "watch", "watch --json --count 1", "watch vnet9", "show web" + guest, "show nothing",
		"lint web", "lint no-ip-spoofing", "explain --filter web --dir in tcp~10.0.0.9:1~>~10.0.0.5:80", "unbind vnet0", "unbind vnet0", "history", "history --json",
		"leases", "leases vnet5", "leases vnet5 --json", "leases vnet9", "leases add vnet5 10.0.0.5 --for 24h", "leases add vnet5 10.0.0.5 --json", "leases add vnet0 10.0.0.6", "leases add vnet5 0.0.0.0",
		"leases pin vnet5 10.0.0.20", "leases unpin vnet5 10.0.0.20 --json", "leases delete vnet5 10.0.0.5", "leases delete vnet5 10.0.0.5", "history vnet5", "list --json",
		"__complete leases ", "__complete leases pin vnet5 ", "__complete leases unpin vnet5 ", "__complete leases delete vnet5 10", "unbind vnet5", "leases",
		"__complete filter dump w", "__complete unbind v", "__complete history ", "__complete filter rollback web --to ",
	}
	var said [2][]string
	for way, name := range []string{"alone", "daemon"} {
		s := newSession(t)
		s.stats, s.connections, s.notices = countedStats(), trackedConnections(), toldNotices(t)
		c, e := expectedOf()
		s.connections, s.expectations = append(s.connections, c), []*datapath.Expectation{e}
		s.bound("vnet5", "dhcp", leaseText("10.0.0.20/32", "dhcp", `,"server":"10.0.0.1","end":"2126-05-04T10:00:00Z"`), leaseText("10.0.0.21/32", "dhcp", `,"pinned":true`))
		socket := filepath.Join(s.dir, "none")
		if name == "daemon" {
			socket = s.serve()
		}
		files := strings.NewReplacer("V1", filepath.Join(t.TempDir(), "v1.xml"), "V2", filepath.Join(t.TempDir(), "v2.xml"),
			"FAULTY", filepath.Join(t.TempDir(), "faulty.xml"), "DOMAIN", filepath.Join(t.TempDir(), "domain.xml"))
		for file, text := range map[string]string{"V1": v1, "V2": v2, "FAULTY": "<filter nam='x'/>", "DOMAIN": domain} {
			if err := os.WriteFile(files.Replace(file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range lines {
			s.refreshed = [][]datapath.SetChange{{setChange(3, 1, "", "")}}
			words := []string{"--state-dir", s.dir, "--bpffs", "/bpffs", "--socket", socket}
			for word := range strings.SplitSeq(files.Replace(line), " ") {
				words = append(words, strings.ReplaceAll(word, "~", " "))
			}
			code, out, fault := s.runAt(words...)
			text := strings.Join([]string{line, out, fault}, "\n") + strings.Repeat("!", code)
			text = regexp.MustCompile(regexp.QuoteMeta(os.TempDir())+`/[^ :]*/`).ReplaceAllString(text, "/…/")
			said[way] = append(said[way], times.ReplaceAllString(durations.ReplaceAllString(text, ""), "…"))
			if testing.Verbose() && way == 1 {
				t.Log(said[way][len(said[way])-1])
			}
		}
	}
	for i, line := range lines {
		if diff := cmp.Diff(said[0][i], said[1][i]); diff != "" {
			t.Errorf("%s: alone, and with a daemon: %s", line, diff)
		}
	}
}

func TestWhoIsAsked(t *testing.T) {
	s := newSession(t)
	socket := s.serve()
	other := t.TempDir()
	status := func(words ...string) string {
		t.Helper()
		code, out, fault := s.runAt(append(words, "status", "--json")...)
		if code != exitOK {
			return fault
		}
		return out
	}
	t.Setenv("TAPGATE_STATE_DIR", "")
	t.Setenv("TAPGATE_BPFFS", "")
	for name, test := range map[string]struct {
		words []string
		want  string // in the status
	}{
		"a daemon that listens":               {[]string{"--socket", socket}, `"state_dir": "` + s.dir + `"`},
		"it, with its directory":              {[]string{"--socket", socket, "--state-dir", s.dir + "/."}, `"bpffs": "/bpffs"`},
		"another directory":                   {[]string{"--socket", socket, "--state-dir", other}, `"state_dir": "` + other + `"`},
		"other programs":                      {[]string{"--socket", socket, "--bpffs", "/other"}, `"bpffs": "/other"`},
		"nobody, where there is nothing":      {[]string{"--socket", socket + "x", "--state-dir", other}, `"state_dir": "` + other + `"`},
		"nobody, where there is no socket":    {[]string{"--socket", s.file("file", ""), "--state-dir", other}, `"state_dir": "` + other + `"`},
		"nobody, where there is no directory": {[]string{"--socket", "/nowhere/s", "--state-dir", other}, `"state_dir": "` + other + `"`},
	} {
		if got := status(test.words...); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	t.Setenv("TAPGATE_STATE_DIR", other)
	if got := status("--socket", socket); !strings.Contains(got, `"state_dir": "`+other+`"`) {
		t.Errorf("another directory by the environment: %s", got)
	}
}

func TestNobodyChangesWhatADaemonHas(t *testing.T) {
	s := newSession(t)
	release, err := store.ClaimDaemon(s.dir, "/run/daemon.sock")
	if err != nil {
		t.Fatal(err)
	}
	s.ok("list")
	s.ok("filter list")
	for _, line := range []string{"leases add vnet0 10.0.0.5", "leases pin vnet0 10.0.0.5", "leases delete vnet0 10.0.0.5", "bind vnet0 --filter clean-traffic" + guest, "unbind vnet0", "filter undefine x", "filter rollback x", "settings timeout_udp=9", "filter define " + s.file("f.xml", "<filter name='f'/>")} {
		s.fails(line, "tapgate: the state directory "+s.dir+" is in the hands of the daemon with process id ")
		s.fails(line, ", which listens at /run/daemon.sock: give that with --socket\n")
	}
	release()
	s.ok("filter define " + s.file("f.xml", "<filter name='f'/>"))
}

func TestStatus(t *testing.T) {
	s := newSession(t)
	out, _ := s.ok("status")
	s.says(out, "daemon    none listens at "+s.dir+"/none\nversion   ")
	s.says(out, "\nstate     "+s.dir+"\nprograms  ")
	var text bytes.Buffer
	tool := &tool{stdout: &text}
	tool.printStatus(&client.Status{Version: "v1", StateDir: "/state", BPFFS: "/bpffs", Daemon: &client.DaemonStatus{
		PID: 7, Since: "yesterday", Ready: true, Ports: map[string]int{"waiting": 2, "guarded": 3}, Start: []string{"3 ports adopted", "done"},
	}})
	const want = `daemon    ready, process id 7, since yesterday
ports     3 guarded, 2 waiting
version   v1
state     /state
programs  /bpffs
start     3 ports adopted
          done
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}
