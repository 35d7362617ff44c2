package main

import (
	"bytes"
	"context"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tapgate/internal/datapath"
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
	refuse       map[string]error // what Guard says about a port
	// refreshed is what RefreshSets answers, one after the other; then it calls
	// stop.
	refreshed [][]datapath.SetChange
	stop      func()
	// notices are what Watch tells, watched what it was asked for.
	notices []datapath.Notice
	watched datapath.WatchOptions
	// enter is called by Guard, outside of the lock.
	enter func(port string)
}

func (h *fakeHost) Guard(_ context.Context, port string, p *policy.Policy, meta datapath.Meta) (datapath.Change, error) {
	if h.enter != nil {
		h.enter(port)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuse[port]; err != nil {
		return datapath.Change{}, err
	}
	before, replaced := h.ports[port]
	h.ports[port] = datapath.Port{Name: port, State: datapath.Guarded, Filter: p.Filter, MAC: p.MAC.String(), Parameters: meta.Parameters, Settings: meta.Settings}
	h.rules[port] = len(p.Clauses)
	return datapath.Change{Replaced: replaced, Before: before.Filter, Mechanism: datapath.TCX}, nil
}

func (h *fakeHost) Release(_ context.Context, port string) error {
	if _, ok := h.ports[port]; !ok {
		return &datapath.NotGuardedError{Port: port}
	}
	delete(h.ports, port)
	return nil
}

func (h *fakeHost) Ports(context.Context) ([]datapath.Port, error) {
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
	before := len(h.connections)
	h.connections = slices.DeleteFunc(h.connections, match)
	return before - len(h.connections), nil
}

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
	return &session{T: t, dir: t.TempDir(), fakeHost: &fakeHost{ports: map[string]datapath.Port{}, rules: map[string]int{}, refuse: map[string]error{}}}
}

// run runs a command line, whose words are separated by blanks.
func (s *session) run(line string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	t := &tool{
		stdin: strings.NewReader(s.stdin), stdout: &out, stderr: &err,
		openHost: func(string) (host, error) { return s.fakeHost, nil },
	}
	code = t.run(s.Context(), append([]string{"--state-dir", s.dir}, strings.Fields(line)...))
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
