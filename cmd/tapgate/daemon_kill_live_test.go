package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tapgate/client"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// killFilter lets the guest's echo server be reached, and datagrams from the guest
// to nothing but port 10. The texts differ in what no packet of the test meets.
func killFilter(n int) string {
	return fmt.Sprintf(`<filter name='kill'>
  <rule action='accept' direction='in'><tcp state='NEW,ESTABLISHED' dstportstart='7'/></rule>
  <rule action='accept' direction='out'><tcp state='ESTABLISHED' srcportstart='7'/></rule>
  <rule action='accept' direction='out'><udp dstportstart='10'/></rule>
  <rule action='accept' direction='inout'><udp dstportstart='%d'/></rule>
  <rule action='drop' direction='inout'><all/></rule>
</filter>`, 1000+n%2)
}

// TestDaemonKilled kills the daemon again and again while filters are changed,
// ports bound and unbound, under load: what must not pass never does, a connection
// goes on, nothing that is stored is lost or half written, and each new daemon
// finds what the last one left, and puts it right.
func TestDaemonKilled(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 10
	}
	h := newDaemonHost(t)
	if _, err := h.AddTap(t.Context(), lab.TapConfig{Name: "tap0"}); err != nil {
		t.Fatal(err)
	}
	if err := h.ServeTCPEcho(h.Guest, 7); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.define(killFilter(0))
	h.bind("guest0", "kill")
	h.bind("late0", "kill")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	leaks := h.flood(ctx, toNine)
	answers := h.echo(ctx)
	changes := atomic.Int64{}
	go h.change(ctx, &changes)

	bound := 0
	repaired := map[string]int{}
	for n := range kills {
		time.Sleep(rand.N(60 * time.Millisecond))
		before := answers.Load()
		h.kill()
		h.eventually("the connection goes on without a daemon", func() bool { return answers.Load() > before })
		h.start()
		status, err := h.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(status.Daemon.Faults) > 0 {
			t.Errorf("kill %d: faults %q", n, status.Daemon.Faults)
		}
		for _, line := range status.Daemon.Start {
			if strings.HasPrefix(line, "port ") || strings.Contains(line, "interrupted") {
				repaired[line[strings.Index(line, ":")+1:]]++
			}
		}
		p := h.port("guest0")
		if p == nil || p.State != "guarded" || !p.Bound || p.Filter != "kill" {
			t.Fatalf("kill %d: port %+v; the log: %s", n, p, h.log)
		}
		if late := h.port("late0"); late == nil || late.State != "waiting" {
			t.Errorf("kill %d: port %+v", n, late)
		}
		bound++
	}
	stop()
	t.Logf("%d changes, %d answers, %d kills; put right: %v", changes.Load(), answers.Load(), bound, repaired)
	if n := leaks.Load(); n > 0 {
		t.Errorf("%d frames passed that must not", n)
	}
	if changes.Load() < int64(kills)/2 {
		t.Errorf("only %d changes in %d kills", changes.Load(), kills)
	}
	h.stop()
	h.start()
	h.checkLeft()
}

// flood sends a packet of the guest without a pause, and counts those that arrive.
func (h *daemonHost) flood(ctx context.Context, text string) *atomic.Int64 {
	h.Helper()
	frame, err := packet.FromText(text, packet.Ends{Src: h.Guest.MAC, Dst: h.Neighbour.MAC})
	if err != nil {
		h.Fatal(err)
	}
	from, err := h.Guest.OpenFrames(lab.GuestDevice)
	if err != nil {
		h.Fatal(err)
	}
	arrived := h.arrivals(ctx, text)
	go func() {
		for ctx.Err() == nil {
			if from.Send(frame) != nil {
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	return arrived
}

// echo holds one connection to the guest and counts the answers; it must not end.
func (h *daemonHost) echo(ctx context.Context) *atomic.Int64 {
	h.Helper()
	conn, err := h.Neighbour.Dial(ctx, "tcp", h.Guest.At(7))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { conn.Close() })
	answers := &atomic.Int64{}
	go func() {
		answer := make([]byte, 4)
		for ctx.Err() == nil {
			_, err := conn.Write([]byte("ping"))
			if err == nil {
				_, err = io.ReadFull(conn, answer)
			}
			if err != nil {
				if ctx.Err() == nil {
					h.Errorf("the connection ends: %v", err)
				}
				return
			}
			answers.Add(1)
			time.Sleep(time.Millisecond)
		}
	}()
	return answers
}

// change changes things as fast as there is a daemon to do it.
func (h *daemonHost) change(ctx context.Context, done *atomic.Int64) {
	for n := 0; ctx.Err() == nil; n++ {
		var err error
		switch n % 5 {
		case 0, 2:
			_, err = h.Define(ctx, client.Document{Source: killFilter(n / 2)}, false)
		case 1:
			_, err = h.Bind(ctx, client.Binding{Port: "tap0", Filter: "kill", MAC: "52:54:00:00:00:07"}, nil)
		case 3:
			_, err = h.BindAgain(ctx, "guest0")
		case 4:
			err = h.Unbind(ctx, "tap0")
		}
		if err == nil {
			done.Add(1)
			continue
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// checkLeft looks for what a kill may have left in the state directory and among
// the pins, once the last daemon has looked after everything.
func (h *daemonHost) checkLeft() {
	h.Helper()
	for _, pattern := range []string{"state/*/.new-*", "state/aside/*", "bpffs/ports/*/new", "bpffs/ports/*/old_*", "bpffs/ports/*/link_*_new", "bpffs/new"} {
		if left, _ := filepath.Glob(filepath.Join(h.dir, pattern)); len(left) > 0 {
			h.Errorf("left: %q", left)
		}
	}
	generations := 0
	entries, err := os.ReadDir(filepath.Join(h.bpffs, "ports", "guest0"))
	if err != nil {
		h.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			generations++
		}
	}
	if generations != 1 {
		h.Errorf("%d generations of one port", generations)
	}
	history, err := h.History(h.Context())
	if err != nil || len(history.Faults) > 0 {
		h.Errorf("history: %v, %v", history.Faults, err)
	}
}
