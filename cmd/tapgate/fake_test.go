package main

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// fakeHost is a datapath that guards nothing and remembers everything.
type fakeHost struct {
	mu    sync.Mutex
	ports map[string]datapath.Port
	rules map[string]int
	stats datapath.Stats
	// connections are those of the port of stats.
	connections  []*datapath.Connection
	expectations []*datapath.Expectation
	refuse       map[string]error // what Prepare says about a port
	// devices are there; more come with ports that are guarded.
	devices []string
	// refreshed is what RefreshSets answers, one after the other; then it calls
	// stop.
	refreshed [][]datapath.SetChange
	stop      func()
	// notices are what Watch tells, watched what it was asked for.
	notices []datapath.Notice
	watched datapath.WatchOptions
	// enter is called when a policy is put in force, outside of the lock.
	enter func(port string)
	// fail is what putting a policy in force says.
	fail map[string]error
	// look is called by Ports.
	look func()
}

var _ agent.Datapath = (*fakeHost)(nil)

func (h *fakeHost) Prepare(_ context.Context, port string, p *policy.Policy, meta datapath.Meta) (agent.Prepared, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuse[port]; err != nil {
		return nil, err
	}
	return &fakePrepared{h, port, p, meta}, nil
}

// fakePrepared is a policy that is not in force yet.
type fakePrepared struct {
	*fakeHost
	port string
	p    *policy.Policy
	meta datapath.Meta
}

func (f *fakePrepared) Commit(context.Context) (datapath.Change, error) {
	h := f.fakeHost
	if h.enter != nil {
		h.enter(f.port)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fail[f.port]; err != nil {
		return datapath.Change{}, err
	}
	before, replaced := h.ports[f.port]
	h.ports[f.port] = datapath.Port{
		Name: f.port, State: datapath.Guarded, Filter: f.p.Filter, MAC: f.p.MAC.String(),
		Parameters: f.meta.Parameters, Settings: f.meta.Settings, Digest: f.meta.Digest,
		Learning: f.meta.Learning,
	}
	h.rules[f.port] = len(f.p.Clauses)
	return datapath.Change{Replaced: replaced, Before: before.Filter, Mechanism: datapath.TCX}, nil
}

func (f *fakePrepared) Discard() error { return nil }

func (h *fakeHost) Shut(context.Context, string, bool) error { return nil }

func (h *fakeHost) Follow(context.Context, map[string]device.Device) ([]datapath.Moved, error) {
	return nil, nil
}

func (h *fakeHost) Repair(context.Context) ([]datapath.Repaired, error) { return nil, nil }

func (h *fakeHost) Survey(ctx context.Context, names ...string) ([]datapath.Port, error) {
	all, err := h.Ports(ctx)
	return slices.DeleteFunc(all, func(p datapath.Port) bool { return len(names) > 0 && !slices.Contains(names, p.Name) }), err
}

// list gives the devices.
func (h *fakeHost) list() (map[string]device.Device, error) {
	devices := map[string]device.Device{}
	for i, name := range h.devices {
		devices[name] = device.Device{Name: name, Index: i + 1}
	}
	return devices, nil
}

func (h *fakeHost) Release(_ context.Context, port string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.ports[port]; !ok {
		return &datapath.NotGuardedError{Port: port}
	}
	delete(h.ports, port)
	return nil
}

func (h *fakeHost) Ports(context.Context) ([]datapath.Port, error) {
	if h.look != nil {
		h.look()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []datapath.Port
	for _, p := range h.ports {
		list = append(list, p)
	}
	return list, nil
}

func (h *fakeHost) Stats(_ context.Context, port string) (*datapath.Stats, error) {
	if port != h.stats.Name {
		return nil, &datapath.NotGuardedError{Port: port}
	}
	return &h.stats, nil
}

func (h *fakeHost) Connections(_ context.Context, port string) iter.Seq2[*datapath.Connection, error] {
	return yieldOf(h, port, h.connections)
}

func (h *fakeHost) Expectations(_ context.Context, port string) iter.Seq2[*datapath.Expectation, error] {
	return yieldOf(h, port, h.expectations)
}

func yieldOf[T any](h *fakeHost, port string, list []*T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if port != h.stats.Name {
			yield(nil, &datapath.NotGuardedError{Port: port})
			return
		}
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (h *fakeHost) Flush(_ context.Context, port string, match func(*datapath.Connection) bool) (int, error) {
	if port != h.stats.Name {
		return 0, &datapath.NotGuardedError{Port: port}
	}
	if match == nil {
		match = func(*datapath.Connection) bool { return true }
	}
	before := len(h.connections)
	h.connections = slices.DeleteFunc(h.connections, match)
	return before - len(h.connections), nil
}

// Observe tells nothing until ctx ends.
func (h *fakeHost) Observe(ctx context.Context) iter.Seq2[datapath.Observation, error] {
	return func(func(datapath.Observation, error) bool) { <-ctx.Done() }
}

func (h *fakeHost) Inject(context.Context, string, []byte, bool) error { return nil }

func (h *fakeHost) Remember(string, []byte) error { return nil }

func (h *fakeHost) Recall(string) ([]byte, error) { return nil, nil }

func (h *fakeHost) RefreshSets(_ context.Context, port string) ([]datapath.SetChange, error) {
	if port == "nothing" {
		return nil, &datapath.NotGuardedError{Port: port}
	}
	if len(h.refreshed) == 0 {
		h.stop()
		return nil, nil
	}
	changes := h.refreshed[0]
	h.refreshed = h.refreshed[1:]
	return changes, nil
}

func (h *fakeHost) Watch(_ context.Context, options datapath.WatchOptions) iter.Seq2[datapath.Notice, error] {
	h.watched = options
	return func(yield func(datapath.Notice, error) bool) {
		for _, port := range options.Ports {
			if _, ok := h.ports[port]; !ok {
				yield(datapath.Notice{}, &datapath.NotGuardedError{Port: port})
				return
			}
		}
		for _, n := range h.notices {
			if !yield(n, nil) {
				return
			}
		}
	}
}

// session is a state directory and a fake host on which commands are run.
type session struct {
	*testing.T
	*fakeHost
	dir   string
	stdin string
}

func newSession(t *testing.T) *session {
	return &session{T: t, dir: t.TempDir(), fakeHost: &fakeHost{ports: map[string]datapath.Port{}, rules: map[string]int{}, refuse: map[string]error{}, fail: map[string]error{}, devices: []string{"vnet0", "vnet1", "vnet2"}}}
}

// tool is one that works on the session's state and host, where no daemon listens.
func (s *session) tool(stdout, stderr io.Writer) *tool {
	return &tool{
		stdin: strings.NewReader(s.stdin), stdout: stdout, stderr: stderr,
		stateDir: s.dir, socket: filepath.Join(s.dir, "none"), given: func(string) bool { return true },
		open:    func(string) (agent.Datapath, error) { return s.fakeHost, nil },
		devices: s.list,
	}
}

// run runs a command line, whose words are separated by blanks.
func (s *session) run(line string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = s.tool(&out, &err).run(s.Context(), append([]string{"--state-dir", s.dir, "--socket", filepath.Join(s.dir, "none")}, strings.Fields(line)...))
	return code, out.String(), err.String()
}

// ok runs a command that must succeed, and returns what it printed.
func (s *session) ok(line string) (stdout, stderr string) {
	s.Helper()
	code, stdout, stderr := s.run(line)
	if code != exitOK {
		s.Fatalf("%s: exit code %d: %s", line, code, stderr)
	}
	return stdout, stderr
}

// fails runs a command that must fail and say a text on stderr.
func (s *session) fails(line, fault string) (stdout string) {
	s.Helper()
	code, stdout, stderr := s.run(line)
	if code != exitFailure || !strings.Contains(stderr, fault) {
		s.Errorf("%s: exit code %d, want 1; it says %q, want %q", line, code, stderr, fault)
	}
	return stdout
}

// file writes a file and returns its path.
func (s *session) file(name, text string) string {
	s.Helper()
	path := filepath.Join(s.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// stored tells whether something is in the state directory.
func (s *session) stored(kind, name string) bool {
	_, err := os.Stat(filepath.Join(s.dir, kind, name+".xml"))
	return err == nil
}

func (s *session) says(got, want string) {
	s.Helper()
	if !strings.Contains(got, want) {
		s.Errorf("got %q, want %q in it", got, want)
	}
}
