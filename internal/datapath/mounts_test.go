package datapath

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// As "ip netns exec" does, a command gets mounts of its own with a new /sys.
// What it pins must outlive it.
func TestPinsOutliveOwnMounts(t *testing.T) {
	needRoot(t)
	const dir = bpffsRoot + "/tapgate-own-mounts"
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		done <- func() error {
			for _, step := range []func() error{
				func() error { return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) },
				func() error { return unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, "") },
				func() error { return unix.Unmount("/sys", unix.MNT_DETACH) },
				func() error { return unix.Mount("sysfs", "/sys", "sysfs", 0, "") },
			} {
				if err := step(); err != nil {
					return err
				}
			}
			_, err := Open(Options{Dir: dir})
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if on, err := isBPFFS(dir + "/ports"); err != nil || !on {
		t.Errorf("nothing is there for others: %v", err)
	}
}
