package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tapgate/internal/gate"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// onlyTen lets datagrams to port 10 out, and nothing else.
const onlyTen = `<filter name='only-ten'>
  <rule action='accept' direction='out'><ip protocol='udp' dstportstart='10'/></rule>
  <rule action='drop' direction='inout'/>
</filter>`

// TestDaemonGuardsWhatAppears lets devices appear that send from their first
// moment: what the default filter lets through comes through soon, and nothing else
// ever does, with and without a daemon.
func TestDaemonGuardsWhatAppears(t *testing.T) {
	h := newDaemonHost(t)
	h.needGate()
	h.start()
	h.define(onlyTen)
	h.stop()
	options := []string{"--default-filter", "only-ten", "--default-devices", "vm*", "--gate", "on"}
	h.start(options...)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	nine, ten := h.arrivals(ctx, toNine), h.arrivals(ctx, toTen)
	appear := func(n int) *lab.Tap {
		t.Helper()
		tap, err := h.AddTap(ctx, lab.TapConfig{Name: fmt.Sprintf("vm%d", n)})
		if err != nil {
			t.Fatal(err)
		}
		return tap
	}
	var longest time.Duration
	for n := range 20 {
		tap := appear(n)
		begin, before := time.Now(), ten.Load()
		h.eventually("the new device's guest is heard", func() bool {
			h.send(tap, toNine)
			h.send(tap, toTen)
			return ten.Load() > before
		})
		longest = max(longest, time.Since(begin))
		if p := h.port(tap.Name); p == nil || p.State != "guarded" || !p.Default || p.Bound {
			t.Errorf("port %+v", p)
		}
	}
	t.Logf("a new device's guest was heard after %s at most", longest)

	// A binding takes the default filter's place, and gives it back.
	h.define(noNine)
	h.bind("vm0", "no-nine")
	h.becomes("vm0", "guarded", "no-nine")
	if err := h.Unbind(ctx, "vm0"); err != nil {
		t.Fatal(err)
	}
	h.becomes("vm0", "guarded", "only-ten")

	// What appears while no daemon runs is shut until there is one.
	h.kill()
	tap := appear(90)
	before := ten.Load()
	for range 20 {
		h.send(tap, toNine)
		h.send(tap, toTen)
	}
	time.Sleep(50 * time.Millisecond)
	if ten.Load() > before {
		t.Error("a device that appeared without a daemon is open")
	}
	h.begin(options...)
	h.eventually("the daemon is ready", func() bool { h.send(tap, toNine); return strings.Contains(h.log.String(), "msg=ready") })
	h.becomes("vm90", "guarded", "only-ten")
	h.eventually("it is heard", func() bool { h.send(tap, toTen); return ten.Load() > before })
	if n := nine.Load(); n > 0 {
		t.Errorf("%d frames passed that no filter lets through", n)
	}
	h.stop()
	// Without a default filter, nothing is held shut.
	h.start()
	tap = appear(91)
	before = nine.Load()
	h.eventually("an unguarded device is heard", func() bool { h.send(tap, toNine); return nine.Load() > before })
}

// needGate skips where the kernel cannot hold devices shut.
func (h *daemonHost) needGate() {
	h.Helper()
	err := h.Host.Do(func() error {
		g, err := gate.Open(gate.Options{Patterns: []string{"none*"}})
		if err == nil {
			err = g.Close(true)
		}
		return err
	})
	var unsupported *gate.UnsupportedError
	if errors.As(err, &unsupported) {
		h.Skip(err)
	}
	if err != nil {
		h.Fatal(err)
	}
}

// TestDaemonSetsDownWhatCannotBeGuarded: the default filter asks for the guest's
// address, which nobody knows.
func TestDaemonSetsDownWhatCannotBeGuarded(t *testing.T) {
	h := newDaemonHost(t)
	h.start("--default-filter", "no-mac-spoofing", "--default-devices", "vm*", "--gate", "off", "--set-down")
	// A shut tap would do, but whoever makes one waits for it to be up.
	links, veth := h.Host.Links(), &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "vm0", Flags: net.FlagUp}, PeerName: "peer0"}
	if err := links.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	h.becomes("vm0", "shut", "")
	h.eventually("the device is down", func() bool { return h.link("vm0").Attrs().Flags&net.FlagUp == 0 })
	if p := h.port("vm0"); !p.Default || !strings.Contains(p.Fault, "$MAC has no value") || !strings.Contains(p.Fault, "it is shut") {
		t.Errorf("port %+v", p)
	}
	if !strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("it says %s", h.log)
	}
}

// send sends a packet as a tap's guest.
func (h *daemonHost) send(tap *lab.Tap, text string) {
	h.Helper()
	frame, err := packet.FromText(text, packet.Ends{Src: h.Guest.MAC, Dst: h.Neighbour.MAC})
	if err == nil {
		err = tap.Send(frame)
	}
	if err != nil {
		h.Fatal(err)
	}
}

// arrivals counts a packet of a guest at the neighbour.
func (h *daemonHost) arrivals(ctx context.Context, text string) *atomic.Int64 {
	h.Helper()
	frame, err := packet.FromText(text, packet.Ends{Src: h.Guest.MAC, Dst: h.Neighbour.MAC})
	if err != nil {
		h.Fatal(err)
	}
	to, err := h.Neighbour.OpenFrames(lab.GuestDevice)
	if err != nil {
		h.Fatal(err)
	}
	arrived := &atomic.Int64{}
	go func() {
		for ctx.Err() == nil {
			switch _, err := to.Receive(ctx, func(got []byte) bool { return bytes.Equal(got, frame) }); {
			case err == nil:
				arrived.Add(1)
			case !lab.NoAnswer(err) || errors.Is(err, context.Canceled):
				return
			}
		}
	}()
	return arrived
}
