package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tapgate/client"
	"tapgate/internal/datapath"
	"tapgate/internal/lab"
	"tapgate/internal/store"
)

// killedHost runs the program on the ports of a lab.
type killedHost struct {
	*testing.T
	*lab.Lab
	state, bpffs string
}

func (h *killedHost) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(h.Context(), "tapgate", args...)
	c.Env = append(os.Environ(), "TAPGATE_STATE_DIR="+h.state, "TAPGATE_BPFFS="+h.bpffs, "TAPGATE_SOCKET="+h.state+"/none")
	return c
}

// run runs a command to its end, and returns what it says.
func (h *killedHost) run(args ...string) []byte {
	h.Helper()
	c := h.command(args...)
	var out, fault bytes.Buffer
	c.Stdout, c.Stderr = &out, &fault
	if err := h.Host.Do(c.Run); err != nil {
		h.Fatalf("%q: %v: %s", args, err, &fault)
	}
	return out.Bytes()
}

// kill runs a command and kills it at some time.
func (h *killedHost) kill(after time.Duration, args ...string) {
	h.Helper()
	c := h.command(args...)
	if err := h.Host.Do(c.Start); err != nil {
		h.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	_ = c.Wait() // it was killed, or ended before
	timer.Stop()
}

// TestKilledCommandIsToldTruthfully kills "bind" and "unbind" at any moment: what
// the port enforces is what is stored, or the history says that it may not be.
func TestKilledCommandIsToldTruthfully(t *testing.T) {
	network, err := lab.New(t.Context())
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	h := &killedHost{t, network, t.TempDir(), t.TempDir()}
	if err := unix.Mount("bpf", h.bpffs, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(h.bpffs, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(t.TempDir(), name+".xml")
		if err := os.WriteFile(path, fmt.Appendf(nil, "<filter name='%s'/>", name), 0o600); err != nil {
			t.Fatal(err)
		}
		h.run("filter", "define", path)
	}
	kills := 30
	if testing.Short() {
		kills = 5
	}
	start := time.Now()
	h.run("bind", "guest0", "--filter", "a", "--mac", "52:54:00:00:00:01")
	whole := time.Since(start)
	ended := map[store.Result]int{}
	for n := range kills {
		args := []string{"bind", "guest0", "--filter", []string{"a", "b"}[n%2], "--mac", "52:54:00:00:00:01"}
		if n%5 == 4 {
			args = []string{"unbind", "guest0"}
		}
		h.kill(rand.N(whole*3/2), args...)
		ended[h.check()]++
	}
	t.Logf("the last changes were %v", ended)
	h.run("bind", "guest0", "--filter", "b", "--mac", "52:54:00:00:00:01")
	if result := h.check(); result != store.Done {
		t.Errorf("the last change is %s", result)
	}
}

// check compares the port with what is stored, and returns how the last change
// ended.
func (h *killedHost) check() store.Result {
	h.Helper()
	var history []client.Entry
	var ports []client.Port
	for _, read := range []struct {
		command string
		into    any
	}{{"history guest0 --json", &history}, {"list --json", &ports}} {
		if err := json.Unmarshal(h.run(strings.Fields(read.command)...), read.into); err != nil {
			h.Fatal(err)
		}
	}
	enforced, stored := "", ""
	// What was prepared and not attached when the command was killed enforces nothing.
	if len(ports) > 0 && (ports[0].State == string(datapath.Guarded) || ports[0].State == string(datapath.HalfSwapped)) {
		enforced = ports[0].Filter
	}
	err := store.New(store.NewFiles(h.state)).View(h.Context(), func(v *store.View) error {
		b, err := v.Binding("guest0")
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			stored = b.Filter
		}
		return err
	})
	if err != nil {
		h.Error(err)
	}
	last := history[0]
	if enforced != stored && last.Result != string(store.Interrupted) {
		h.Errorf("the port enforces %q, and stored is %q; the last change is %+v", enforced, stored, last)
	}
	return store.Result(last.Result)
}
