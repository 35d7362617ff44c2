package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDaemonIsUpgraded starts a daemon with another skeleton in the place of the
// one that is there: all is swapped in place, and connections live on.
func TestDaemonIsUpgraded(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a second tapgate, which takes too long for -short")
	}
	h := newDaemonHost(t)
	if err := h.ServeTCPEcho(h.Guest, 7); err != nil {
		t.Fatal(err)
	}
	next := h.buildNext()
	h.start()
	h.define(killFilter(0))
	h.bind("guest0", "kill")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	leaks, answers := h.flood(ctx, toNine), h.echo(ctx)
	h.eventually("there are answers", func() bool { return answers.Load() > 10 })
	h.kill()

	h.program = next
	h.start()
	status, err := h.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if start := strings.Join(status.Daemon.Start, "\n"); !strings.Contains(start, "port guest0 had programs of another version") || strings.Contains(start, "anew") {
		t.Errorf("it started with %q", start)
	}
	if p := h.port("guest0"); p.State != "guarded" || p.Outdated || p.Opened != 1 {
		t.Errorf("port %+v", p)
	}
	before := answers.Load()
	h.eventually("the connection goes on", func() bool { return answers.Load() > before+10 })

	// And back again.
	h.stop()
	h.program = ""
	h.start()
	before = answers.Load()
	h.eventually("the connection goes on", func() bool { return answers.Load() > before+10 })
	if n := leaks.Load(); n > 0 {
		t.Errorf("%d frames passed that must not", n)
	}
}

// buildNext builds the program with an object of the same meaning and another
// digest, as a later version has.
func (h *daemonHost) buildNext() string {
	h.Helper()
	object, err := filepath.Abs("../../internal/datapath/skeleton/port_bpfel.o")
	if err != nil {
		h.Fatal(err)
	}
	code, err := os.ReadFile(object)
	if err != nil {
		h.Fatal(err)
	}
	other, overlay, program := filepath.Join(h.dir, "other.o"), filepath.Join(h.dir, "overlay.json"), filepath.Join(h.dir, "tapgate-next")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{object: other}})
	if err != nil {
		h.Fatal(err)
	}
	for path, content := range map[string][]byte{other: append(code, 0), overlay: text} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			h.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(h.Context(), "go", "build", "-overlay", overlay, "-o", program, ".").CombinedOutput(); err != nil {
		h.Fatalf("build another program: %v: %s", err, out)
	}
	return program
}
