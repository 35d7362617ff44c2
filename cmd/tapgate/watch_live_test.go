package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// TestWatchLive watches a port as a person does, and ends it with Ctrl-C.
func TestWatchLive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip(lab.ErrNeedsRoot)
	}
	l, err := lab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bpffs := t.TempDir()
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(bpffs, unix.MNT_DETACH)
	filter := filepath.Join(t.TempDir(), "closed.xml")
	err = os.WriteFile(filter, []byte("<filter name='closed'>\n  <rule action='drop' direction='out'><udp dstportstart='9'/></rule>\n</filter>"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	tapgate := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), "tapgate", append([]string{"--bpffs", bpffs, "--state-dir", filepath.Dir(filter), "--socket", filepath.Join(bpffs, "none")}, args...)...)
		c.Stderr = os.Stderr
		return c
	}
	start := func(c *exec.Cmd) {
		t.Helper()
		if err := l.Host.Do(c.Start); err != nil {
			t.Fatal(err)
		}
	}
	bind := tapgate("bind", l.Guest.Port, "--filter", filter, "--mac", l.Guest.MAC.String())
	start(bind)
	if err := bind.Wait(); err != nil {
		t.Fatal(err)
	}

	written := filepath.Join(t.TempDir(), "drops.pcapng")
	watch := tapgate("watch", l.Guest.Port, "--write", written)
	watch.Stderr = nil
	stdout, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := watch.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(watch)
	said := bufio.NewReader(stderr)
	line(t, said, "watching "+l.Guest.Port)
	const text = "udp 10.77.0.11:4000 > 10.77.0.20:9 len 5"
	frame, err := packet.FromText(text, packet.Ends{Src: l.Guest.MAC, Dst: l.Neighbour.MAC})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Arrives(t.Context(), l.Guest, l.Neighbour, frame); !lab.NoAnswer(err) {
		t.Fatalf("the frame was not dropped: %v", err)
	}
	line(t, bufio.NewReader(stdout), l.Guest.Port+"  out  drop    "+text+" — "+filter+":2 of filter closed: drop ip version=4 protocol=udp dport=9")
	if err := watch.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	line(t, said, "1 packet shown, written to "+written+", 0 not shown")
	if err := watch.Wait(); err != nil {
		t.Error(err)
	}
	file, err := os.Open(written)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if comments := captured(t, file); len(comments) != 1 || !strings.HasPrefix(comments[0], "drop: "+filter+":2") {
		t.Errorf("written: %q", comments)
	}
}

// line reads the next line that holds a text.
func line(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	all := ""
	for {
		got, err := r.ReadString('\n')
		all += got
		if strings.Contains(got, want) {
			return
		}
		if err == io.EOF {
			t.Fatalf("got %q, want %q", all, want)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
