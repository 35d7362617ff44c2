package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/client"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// daemonHost is a host on which a daemon runs, in a process of its own.
type daemonHost struct {
	*testing.T
	*lab.Lab
	*client.Client
	dir, bpffs, socket string
	// program is the daemon's, "tapgate" of the test if it is empty.
	program string
	env     []string

	process *exec.Cmd
	log     *daemonLog
}

// daemonLog is what the daemon has logged, of which a test may wait for a line.
type daemonLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func (l *daemonLog) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		l.mu.Lock()
		l.text.WriteString(line)
		close(l.grew)
		l.grew = make(chan struct{})
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (l *daemonLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns when the log has a text, or false when ctx ends before.
func (l *daemonLog) wait(ctx context.Context, text string) bool {
	for {
		l.mu.Lock()
		found, grew := strings.Contains(l.text.String(), text), l.grew
		l.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return false
		}
	}
}

// newDaemonHost makes the host; nothing runs yet.
func newDaemonHost(t *testing.T) *daemonHost {
	t.Helper()
	network, err := lab.New(t.Context())
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "tapgate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &daemonHost{T: t, Lab: network, dir: dir, bpffs: filepath.Join(dir, "bpffs"), socket: filepath.Join(dir, "run", "tapgate.sock")}
	if err := os.Mkdir(h.bpffs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", h.bpffs, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(h.bpffs, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h.env = append(os.Environ(), "TAPGATE_STATE_DIR="+filepath.Join(dir, "state"), "TAPGATE_BPFFS="+h.bpffs, "TAPGATE_SOCKET="+h.socket)
	h.Client = client.New(h.socket)
	return h
}

func (h *daemonHost) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(h.Context(), "tapgate", args...)
	c.Env = h.env
	return c
}

// start starts the daemon and returns when it is ready.
func (h *daemonHost) start(args ...string) {
	h.Helper()
	h.begin(args...)
	ctx, stop := context.WithTimeout(h.Context(), 30*time.Second)
	defer stop()
	if !h.log.wait(ctx, "msg=ready") {
		h.Fatalf("the daemon does not become ready: %s", h.log)
	}
}

// begin starts the daemon.
func (h *daemonHost) begin(args ...string) {
	h.Helper()
	h.process = exec.CommandContext(h.Context(), cmp.Or(h.program, "tapgate"), append([]string{"daemon"}, args...)...)
	h.process.Env = h.env
	stderr, err := h.process.StderrPipe()
	if err != nil {
		h.Fatal(err)
	}
	if err := h.Host.Do(h.process.Start); err != nil {
		h.Fatal(err)
	}
	h.log = &daemonLog{grew: make(chan struct{})}
	go h.log.read(stderr)
	h.Cleanup(h.kill)
}

// kill kills the daemon, if it runs.
func (h *daemonHost) kill() {
	if h.process != nil && h.process.ProcessState == nil {
		_ = h.process.Process.Kill()
		_ = h.process.Wait()
		h.Client.Close()
	}
}

// stop ends the daemon as systemd does.
func (h *daemonHost) stop() {
	h.Helper()
	if err := h.process.Process.Signal(unix.SIGTERM); err != nil {
		h.Fatal(err)
	}
	if err := h.process.Wait(); err != nil {
		h.Errorf("the daemon ends with %v: %s", err, h.log)
	}
	h.Client.Close()
}

// eventually waits until a condition holds.
func (h *daemonHost) eventually(what string, holds func() bool) {
	h.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("it does not happen that %s; the log: %s", what, h.log)
		}
	}
}

// port is a port as the daemon lists it; nil if it does not.
func (h *daemonHost) port(name string) *client.Port {
	h.Helper()
	list, err := h.Ports(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for i := range list.Ports {
		if list.Ports[i].Name == name {
			return &list.Ports[i]
		}
	}
	return nil
}

// becomes waits until a port is in a state and enforces a filter.
func (h *daemonHost) becomes(name, state, filter string) {
	h.Helper()
	h.eventually(fmt.Sprintf("port %s is %s by %s", name, state, filter), func() bool {
		p := h.port(name)
		return p != nil && string(p.State) == state && p.Filter == filter
	})
}

func (h *daemonHost) define(text string) *client.FilterChange {
	h.Helper()
	done, err := h.Define(h.Context(), client.Document{Source: text}, false)
	if err != nil {
		h.Fatal(err)
	}
	return done
}

func (h *daemonHost) bind(port, filter string) *client.Bound {
	h.Helper()
	done, err := h.Bind(h.Context(), client.Binding{Port: port, Filter: filter, MAC: "52:54:00:00:00:01"}, nil)
	if err != nil {
		h.Fatal(err)
	}
	return done
}

// arrives sends a packet to or from the guest and tells whether it arrived.
func (h *daemonHost) arrives(direction, text string) bool {
	h.Helper()
	from, to := h.Neighbour, h.Guest
	if direction == "out" {
		from, to = to, from
	}
	frame, err := packet.FromText(text, packet.Ends{Src: from.MAC, Dst: to.MAC})
	if err != nil {
		h.Fatal(err)
	}
	err = lab.Arrives(h.Context(), from, to, frame)
	if err != nil && !lab.NoAnswer(err) {
		h.Fatal(err)
	}
	return err == nil
}

const (
	toNine = "udp 10.77.0.11:4000 > 10.77.0.20:9 len 5"
	toTen  = "udp 10.77.0.11:4000 > 10.77.0.20:10 len 5"
)

// noNine drops datagrams to port 9.
const noNine = "<filter name='no-nine'><rule action='drop' direction='out'><udp dstportstart='9'/></rule></filter>"

func (h *daemonHost) link(name string) netlink.Link {
	h.Helper()
	l, err := h.Host.Links().LinkByName(name)
	if err != nil {
		h.Fatal(err)
	}
	return l
}

func (h *daemonHost) rename(from, to string) {
	h.Helper()
	l, links := h.link(from), h.Host.Links()
	if err := errors.Join(links.LinkSetDown(l), links.LinkSetName(l, to), links.LinkSetUp(l)); err != nil {
		h.Fatal(err)
	}
}

// TestDaemonFollowsDevices lets a guest's device come, change its name and its
// bridge, and be made anew, with frames sent all along.
func TestDaemonFollowsDevices(t *testing.T) {
	h := newDaemonHost(t)
	h.start()
	h.define(noNine)
	if b := h.bind("guest0", "no-nine"); b.Waiting {
		t.Errorf("bound %+v", b)
	}
	if b := h.bind("late0", "no-nine"); !b.Waiting {
		t.Errorf("bound %+v", b)
	}
	check := func(port string) {
		t.Helper()
		h.becomes(port, "guarded", "no-nine")
		if h.arrives("out", toNine) || !h.arrives("out", toTen) {
			t.Errorf("%s does not enforce its filter", port)
		}
	}
	check("guest0")
	h.becomes("late0", "waiting", "no-nine")

	// Its name becomes one that is bound too.
	h.rename("guest0", "late0")
	check("late0")
	h.becomes("guest0", "waiting", "no-nine")
	h.rename("late0", "stray0")
	h.becomes("late0", "waiting", "no-nine")
	check("stray0")
	if p := h.port("stray0"); p.Bound {
		t.Errorf("port %+v", p)
	}
	h.rename("stray0", "guest0")
	check("guest0")

	// Another bridge, and back.
	links, dev := h.Host.Links(), h.link("guest0")
	bridge := dev.Attrs().MasterIndex
	other := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br9"}}
	if err := errors.Join(links.LinkAdd(other), links.LinkSetMaster(dev, other), links.LinkSetMasterByIndex(dev, bridge)); err != nil {
		t.Fatal(err)
	}
	check("guest0")

	// Made anew under its name, with the same index.
	tap, err := h.AddTap(t.Context(), lab.TapConfig{Name: "late0"})
	if err != nil {
		t.Fatal(err)
	}
	h.becomes("late0", "guarded", "no-nine")
	before := h.port("late0").Ifindex
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	again := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "late0", Index: before}, PeerName: "late9"}
	if err := links.LinkAdd(again); err != nil {
		t.Fatal(err)
	}
	h.becomes("late0", "guarded", "no-nine")
	if p := h.port("late0"); p.Ifindex != before {
		t.Errorf("the new device has index %d, the old one had %d", p.Ifindex, before)
	}
	if err := links.LinkDel(again); err != nil {
		t.Fatal(err)
	}
	h.becomes("late0", "waiting", "no-nine")

	if err := h.Unbind(t.Context(), "guest0"); err != nil {
		t.Fatal(err)
	}
	if !h.arrives("out", toNine) || h.port("guest0") != nil {
		t.Error("the port is unbound, and still guarded")
	}
	h.stop()
}

// TestDaemonAdopts starts one daemon after the other.
func TestDaemonAdopts(t *testing.T) {
	h := newDaemonHost(t)
	h.start()
	h.define(noNine)
	h.bind("guest0", "no-nine")
	h.arrives("out", toTen)
	passed := h.port("guest0").Out.Passed.Packets
	for _, end := range []func(){h.stop, h.kill} {
		end()
		if h.arrives("out", toNine) {
			t.Error("without a daemon, the port is open")
		}
		h.start()
		status, err := h.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if start := strings.Join(status.Daemon.Start, "\n"); !strings.Contains(start, "1 port adopted as found") {
			t.Errorf("it started with %q", start)
		}
		if p := h.port("guest0"); p.Out.Passed.Packets < passed {
			t.Errorf("the counter is %d, it was %d before", p.Out.Passed.Packets, passed)
		}
	}
	// What somebody took off is put back at the next look.
	for _, name := range []string{"link_in", "link_out"} {
		if err := os.Remove(filepath.Join(h.bpffs, "ports", "guest0", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.process.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.eventually("the port is guarded again", func() bool { return !h.arrives("out", toNine) })
	h.becomes("guest0", "guarded", "no-nine")
}

// TestTwoDaemons: the second says so and ends.
func TestTwoDaemons(t *testing.T) {
	h := newDaemonHost(t)
	h.start()
	for _, other := range []struct{ socket, state, want string }{
		{h.socket, "", "belongs to the daemon with process id"},
		{h.socket + "2", "", "belongs to the daemon with process id"},
		{h.socket + "2", filepath.Join(h.dir, "state2"), "another daemon looks after the ports in"},
	} {
		c := h.command("daemon", "--socket", other.socket)
		if other.state != "" {
			c.Args = append(c.Args, "--state-dir", other.state)
		}
		var stderr bytes.Buffer
		c.Stderr = &stderr
		err := h.Host.Do(c.Run)
		if code := c.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(stderr.String(), other.want) {
			t.Errorf("the second daemon ends with %v: %s", err, &stderr)
		}
	}
	if h.port("guest0") != nil {
		t.Error("the first one was disturbed")
	}
}
