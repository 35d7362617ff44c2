package lab

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// WithOwnMounts calls fn in a thread that has the host's mounts as its own: what
// fn mounts is seen by nobody else and ends with it. Other goroutines that fn
// starts see the host's. Without root it is ErrNeedsRoot.
func WithOwnMounts(fn func() error) error {
	done := make(chan error)
	go func() {
		defer close(done)      // also if a test ends the goroutine
		runtime.LockOSThread() // the thread ends with the goroutine
		done <- func() error {
			err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
			if err == unix.EPERM {
				return ErrNeedsRoot
			}
			if err == nil {
				err = unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")
			}
			if err != nil {
				return fmt.Errorf("make mounts of its own: %w", err)
			}
			return fn()
		}()
	}()
	return <-done
}
