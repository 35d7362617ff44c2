package api

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tapgate/client"
)

func mode(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().String()
}

func TestSocketIsForItsOwnerAndGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s")
	l, err := listen(path, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mode(t, filepath.Dir(path)), "drwx------"; got != want {
		t.Errorf("the directory is %s, want %s", got, want)
	}
	if got, want := mode(t, path), "Srw-rw----"; got != want {
		t.Errorf("the socket is %s, want %s", got, want)
	}
	_, err = listen(path, -1, false)
	if want := "listen at " + path + ": another process listens there"; err == nil || err.Error() != want {
		t.Errorf("twice: %v, want %s", err, want)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if it had been killed
	l.Close()
	if l, err = listen(path, -1, false); err != nil {
		t.Fatalf("after one that was killed: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path, -1, false); err == nil || !strings.HasSuffix(err.Error(), "something else than a socket is there; remove it, or choose another path") {
		t.Errorf("in the place of a file: %v", err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 108))
	if _, err := listen(long, -1, false); err == nil || !strings.HasSuffix(err.Error(), "and that of a socket can have 107") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := listen("/nowhere/at/all", -1, false); err == nil || err.Error() != "listen at /nowhere/at/all: no such file or directory" {
		t.Errorf("without a directory: %v", err)
	}
	// A directory that is there is somebody else's matter.
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if l, err = listen(filepath.Join(dir, "s"), -1, false); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got, want := mode(t, dir), "drwxr-xr-x"; got != want {
		t.Errorf("the directory is %s, want %s", got, want)
	}
	// Our own is given to a group that came later.
	if os.Geteuid() != 0 {
		return
	}
	if l, err = listen(filepath.Join(dir, "s"), members, true); err != nil {
		t.Fatal(err)
	}
	l.Close()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().String(), "drwxr-x---"; got != want || info.Sys().(*syscall.Stat_t).Gid != members {
		t.Errorf("our own directory is %s of the group %d, want %s of %d", got, info.Sys().(*syscall.Stat_t).Gid, want, members)
	}
}

const (
	nobody  = 65534
	members = 54321 // a group of the test's own
)

// asUser runs fn with the rights of nobody, who is a member of a group. The thread
// that has them is not used again.
func asUser(t *testing.T, gid int, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		for _, step := range [][4]uintptr{
			{unix.SYS_SETGROUPS, 0, 0, 0}, {unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)}, {unix.SYS_SETRESUID, nobody, nobody, nobody},
		} {
			if _, _, errno := unix.RawSyscall(step[0], step[1], step[2], step[3]); errno != 0 {
				done <- errno
				return
			}
		}
		fn()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// dialNow connects on the calling thread.
func dialNow(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func TestNobodyElseGetsIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it tries the socket as other users")
	}
	top := t.TempDir()
	for dir := top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	open := filepath.Join(top, "open") // a directory that anybody can enter
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	f := &fakeService{}
	for name, path := range map[string]string{"in a directory of its own": filepath.Join(top, "run", "s"), "in an open directory": filepath.Join(open, "s")} {
		l, err := listen(path, members, false)
		if err != nil {
			t.Fatal(err)
		}
		serveAt(t, l, f, Limits{})
		asUser(t, nobody, func() {
			if fd, err := dialNow(path); !errors.Is(err, unix.EACCES) {
				t.Errorf("%s: nobody connects: %d, %v", name, fd, err)
			}
		})
		conn := -1
		asUser(t, members, func() {
			if conn, err = dialNow(path); err != nil {
				t.Errorf("%s: a member of the group: %v", name, err)
			}
		})
		if conn < 0 {
			continue
		}
		request := posting("POST /v1/filters", `{"source":"x"}`)
		if _, err := unix.Write(conn, []byte(request)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4096)
		n, err := unix.Read(conn, answer)
		unix.Close(conn)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200 OK") {
			t.Errorf("%s: %v: %s", name, err, answer[:n])
		}
		if f.changedBy().UID != nobody {
			t.Errorf("%s: the change is that of %s", name, f.changedBy())
		}
	}
}

// failing is a transport that gets nowhere.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestClientWithoutPermission(t *testing.T) {
	err := &net.OpError{Op: "dial", Err: &fs.PathError{Op: "connect", Path: "s", Err: unix.EACCES}}
	c := client.NewWithTransport(failing{err})
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrNoPermission) ||
		!strings.Contains(err.Error(), "only root and the members of the socket's group, tapgate, may ask the daemon") {
		t.Errorf("%v", err)
	}
}
