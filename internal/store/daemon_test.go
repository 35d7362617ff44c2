package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestDaemonHasTheStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, _, running, err := Daemon(dir); running || err != nil {
		t.Errorf("without a directory: running %t, %v", running, err)
	}
	release, err := ClaimDaemon(dir, "/run/some.sock")
	if err != nil {
		t.Fatal(err)
	}
	pid, socket, running, err := Daemon(dir)
	if pid != os.Getpid() || socket != "/run/some.sock" || !running || err != nil {
		t.Errorf("claimed: pid %d, %q, running %t, %v", pid, socket, running, err)
	}
	_, err = ClaimDaemon(dir, "/run/other.sock")
	want := fmt.Sprintf("the state directory %s belongs to the daemon with process id %d, which listens at /run/some.sock", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("claimed twice: %v, want %s", err, want)
	}
	release()
	if _, _, running, err := Daemon(dir); running || err != nil {
		t.Errorf("released: running %t, %v", running, err)
	}
}

// Those who look take the lock for a moment. That must not keep a daemon out.
func TestLookingKeepsNoDaemonOut(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, _, _, err := Daemon(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		release, err := ClaimDaemon(dir, "s")
		if err != nil {
			t.Error(err)
			break
		}
		release()
	}
	close(done)
	looking.Wait()
}

func TestProcess(t *testing.T) {
	self := Process(os.Getpid(), 0)
	session, _ := os.ReadFile("/proc/self/loginuid")
	if want := actor(0, string(session), "", userName); self.String() != want.String() {
		t.Errorf("this process is %s, want %s", self, want)
	}
	gone := Process(1<<30, 4294967294)
	if gone.Login != nil || !strings.HasPrefix(gone.String(), "uid ") {
		t.Errorf("a process that is gone is %+v", gone)
	}
}
