package systemd

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager is what systemd is to the notifications: a socket that hears them.
type manager struct{ *net.UnixConn }

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{c}
}

// hear gives the next notification, "" if there is none within a time.
func (m manager) hear(t *testing.T, within time.Duration) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := m.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	n, err := m.Read(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func TestNotifications(t *testing.T) {
	m := newManager(t)
	cases := []struct {
		name string
		tell func() error
		want string
	}{
		{"ready", func() error { return Ready("5 ports are guarded") }, `READY=1\nSTATUS=5 ports are guarded`},
		{"status", func() error { return Status("vnet3 is not guarded") }, `STATUS=vnet3 is not guarded`},
		{"a status of several lines cannot assign", func() error { return Status("a\nREADY=1\r\nb") }, `STATUS=a READY=1 b`},
		{"stopping", func() error { return Stopping("filtering goes on") }, `STOPPING=1\nSTATUS=filtering goes on`},
		{"reloading", Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*`},
		{"still starting", func() error { return StillStarting(30*time.Second, "port 40 of 1000") }, `EXTEND_TIMEOUT_USEC=30000000\nSTATUS=port 40 of 1000`},
	}
	for _, c := range cases {
		if err := c.tell(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := m.hear(t, time.Second); !regexp.MustCompile("^" + c.want + "$").MatchString(got) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNothingWithoutSystemd(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"} {
		t.Setenv(name, "")
	}
	for name, err := range map[string]error{
		"Ready": Ready("x"), "Status": Status("x"), "Stopping": Stopping("x"), "Reloading": Reloading(), "StillStarting": StillStarting(1, "x"),
		"Watchdog": Watchdog(t.Context(), func() bool { return true }),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l, err := Listener(); l != nil || err != nil {
		t.Errorf("Listener: %v, %v", l, err)
	}
}

func TestNotificationToNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := Ready("x"); err == nil || !strings.Contains(err.Error(), `tell systemd "READY=1"`) {
		t.Errorf("%v", err)
	}
}

func TestWatchdogPingsWhileHealthy(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(20000))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	var healthy atomic.Bool
	healthy.Store(true)
	asked := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- Watchdog(ctx, func() bool {
			asked <- struct{}{}
			return healthy.Load()
		})
	}()
	for range 3 {
		if got := m.hear(t, 5*time.Second); got != "WATCHDOG=1" {
			t.Fatalf("%q, want WATCHDOG=1", got)
		}
	}
	healthy.Store(false)
	for len(asked) > 0 {
		<-asked
	}
	<-asked // it may have been healthy for this one
	for m.hear(t, 10*time.Millisecond) != "" {
	}
	<-asked
	<-asked
	if got := m.hear(t, 10*time.Millisecond); got != "" {
		t.Errorf("%q though the daemon is not healthy", got)
	}
	healthy.Store(true)
	if got := m.hear(t, 5*time.Second); got != "WATCHDOG=1" {
		t.Errorf("%q after the daemon became healthy again, want WATCHDOG=1", got)
	}
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestWatchdogOfAnotherProcess(t *testing.T) {
	newManager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "1")
	if err := Watchdog(t.Context(), func() bool { t.Error("asked"); return true }); err != nil {
		t.Error(err)
	}
}

func TestPulse(t *testing.T) {
	var p Pulse
	if p.Within(time.Hour) {
		t.Error("a pulse that never beat is within an hour")
	}
	p.Beat()
	if !p.Within(time.Hour) || p.Within(-1) {
		t.Error("a pulse that beat just now is not within an hour, or before now")
	}
}

// TestMain is also the child that is given sockets: LISTEN_PID is its own, as
// systemd sets it between fork and exec.
func TestMain(m *testing.M) {
	if os.Getenv("TAPGATE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	l, err := Listener()
	switch {
	case err != nil:
		os.Stdout.WriteString("error: " + err.Error())
	case l == nil:
		os.Stdout.WriteString("none")
	default:
		again, err := Listener()
		if again != nil || err != nil || os.Getenv("LISTEN_FDS") != "" {
			os.Stdout.WriteString("given twice; ")
		}
		c, err := l.Accept()
		if err != nil {
			os.Stdout.WriteString("accept: " + err.Error())
			return
		}
		c.Write([]byte("hello"))
		c.Close()
		l.Close()
		os.Stdout.WriteString("answered")
	}
}

func TestListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tapgate.sock")
	unixSocket, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer unixSocket.Close()
	tcpSocket, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcpSocket.Close()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	unixFile, tcpFile := file(t, unixSocket), file(t, tcpSocket)
	cases := []struct {
		name  string
		files []*os.File
		names string
		want  string
	}{
		{"one without a name", []*os.File{unixFile}, "", "^answered$"},
		{"one with a name", []*os.File{unixFile}, "tapgate.socket", "^answered$"},
		{"two", []*os.File{unixFile, unixFile}, "a.socket:b.socket", `^error: systemd gives 2 sockets \(a.socket, b.socket\): expected one`},
		{"a TCP socket", []*os.File{tcpFile}, "web.socket", "^error: take the socket web.socket from systemd: it listens at 127.*: expected a unix socket"},
		{"no socket", []*os.File{plain}, "file", "^error: take the socket file from systemd: .*; expected a unix socket"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			child := exec.Command(os.Args[0])
			child.ExtraFiles = c.files
			child.Env = append(os.Environ(), "TAPGATE_TEST_CHILD=1", "LISTEN_FDS="+strconv.Itoa(len(c.files)), "LISTEN_FDNAMES="+c.names)
			var out strings.Builder
			child.Stdout, child.Stderr = &out, os.Stderr
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(c.want, "answered") {
				client, err := net.Dial("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 16)
				if n, _ := client.Read(b); string(b[:n]) != "hello" {
					t.Errorf("the child said %q", b[:n])
				}
				client.Close()
			}
			if err := child.Wait(); err != nil {
				t.Error(err)
			}
			if !regexp.MustCompile(c.want).MatchString(out.String()) {
				t.Errorf("%q, want %q", out.String(), c.want)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("closing the listener removed systemd's socket: %v", err)
			}
		})
	}
}

func file(t *testing.T, l interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
