package lab

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestCloseLeavesNothing(t *testing.T) {
	newLab(t).Close() // what Go opens once and keeps, such as its poller, is open from now on
	for _, test := range []struct {
		name string
		end  func(l *Lab, cancel func())
	}{
		{"closed", func(l *Lab, _ func()) { l.Close() }},
		{"closed twice", func(l *Lab, _ func()) { l.Close(); l.Close() }},
		{"cancelled", func(l *Lab, cancel func()) { cancel(); l.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := openFiles(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l, err := New(ctx)
			if err != nil {
				t.Fatal(err)
			}
			useEverything(t, l)
			test.end(l, cancel)
			assertNothingLeft(t, before)
		})
	}
}

func TestEndOfTheContextClosesTheLab(t *testing.T) {
	newLab(t).Close()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := New(ctx)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := l.Neighbour.OpenFrames(GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	limit, stop := context.WithTimeout(t.Context(), setupTimeout)
	defer stop()
	nothing := func([]byte) bool { return false }
	if _, err := frames.Receive(limit, nothing); err == nil || NoAnswer(err) {
		t.Errorf("an open socket of the lab ended with: %v", err)
	}
	l.Close()
}

func TestCloseRemovesTheDevices(t *testing.T) {
	l := newLab(t)
	if _, err := l.AddTap(t.Context(), TapConfig{Name: "tap0"}); err != nil {
		t.Fatal(err)
	}
	// Kept open, the namespace can be looked into after its end.
	fd, err := unix.Dup(int(l.Host.fd))
	if err != nil {
		t.Fatal(err)
	}
	host := &Namespace{name: "host", fd: netns.NsHandle(fd)}
	defer host.close()
	l.Close()
	var left []string
	if err := host.Do(func() error { left = devices(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(left, []string{"lo"}) {
		t.Errorf("devices left: %v", left)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	newLab(t).Close()
	before := openFiles(t)
	l, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddTap(t.Context(), TapConfig{Name: Bridge}); err == nil {
		t.Error("a second device of the same name was made")
	}
	if _, err := l.AddTap(t.Context(), TapConfig{Name: "a-name-that-is-too-long"}); err == nil {
		t.Error("a device with a name of 23 characters was made")
	}
	if _, err := l.AddGuest(t.Context(), GuestConfig{Name: "guest"}); err == nil {
		t.Error("a second guest of the same name was made")
	}
	l.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("New in a context that has ended: %v", err)
	}
	assertNothingLeft(t, before)
}

func TestHalfBuiltLabIsTakenDown(t *testing.T) {
	newLab(t).Close()
	before := openFiles(t)
	// However far New, which takes some 10 ms, comes in that time.
	for delay := time.Millisecond; delay < 16*time.Millisecond; delay += 3 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), delay)
		if l, err := New(ctx); err == nil {
			l.Close()
		}
		cancel()
	}
	assertNothingLeft(t, before)
}

func TestNothingStartsInAClosedLab(t *testing.T) {
	l := newLab(t)
	l.Close()
	for name, err := range map[string]error{
		"servers": l.StartServers(),
		"guest":   func() error { _, err := l.AddGuest(t.Context(), GuestConfig{Name: "late"}); return err }(),
		"tap":     func() error { _, err := l.AddTap(t.Context(), TapConfig{Name: "late0"}); return err }(),
	} {
		if err == nil {
			t.Errorf("%s started", name)
		}
	}
}

func TestWithoutRightsThereIsOneClearError(t *testing.T) {
	if os.Getenv("LAB_WITHOUT_RIGHTS") != "" {
		_, err := New(t.Context())
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip(ErrNeedsRoot)
	}
	again := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), "LAB_WITHOUT_RIGHTS=1")
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, _ := again.CombinedOutput()
	if !strings.Contains(string(output), ErrNeedsRoot.Error()+"\n") {
		t.Errorf("got:\n%s", output)
	}
}

// useEverything leaves open whatever can be left open.
func useEverything(t *testing.T, l *Lab) {
	t.Helper()
	if err := l.StartServers(); err != nil {
		t.Fatal(err)
	}
	if err := HTTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(HTTPPort)); err != nil {
		t.Fatal(err)
	}
	client, err := DialFTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(FTPPort))
	if err != nil {
		t.Fatal(err)
	}
	defer client.conn.Close()
	if err := client.Retrieve(t.Context(), ActivePORT); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddTap(t.Context(), TapConfig{Name: "tap0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Neighbour.OpenFrames(GuestDevice); err != nil {
		t.Fatal(err)
	}
}

// assertNothingLeft checks what would keep a namespace alive: descriptors (of namespaces, sockets
// and devices), threads, and goroutines of this package that may hold either.
func assertNothingLeft(t *testing.T, before []string) {
	t.Helper()
	if after := openFiles(t); len(after) != len(before) {
		t.Errorf("open files:\n%s\nbefore:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(threads) == 0 {
		t.Fatalf("list threads: %v, %v", threads, err)
	}
	for _, thread := range threads {
		// A thread that has ended meanwhile is in no namespace.
		if ns, err := os.Readlink(thread); err == nil && ns != own {
			t.Errorf("%s is still in %s", thread, ns)
		}
	}
	var goroutines strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&goroutines, 2); err != nil {
		t.Fatal(err)
	}
	for _, stack := range strings.Split(goroutines.String(), "\n\n") {
		if strings.Contains(stack, "/internal/lab.(*Lab).serve") {
			t.Errorf("still running:\n%s", stack)
		}
	}
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			files = append(files, file)
		}
	}
	return files
}
