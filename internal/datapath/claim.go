package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Claim takes the host for a process that looks after all of its ports, until
// release is called or the process ends. There can be one: two would undo each
// other's work. Others may go on to change single ports.
func (h *Host) Claim() (release func(), err error) {
	path := filepath.Join(h.dir, "ports")
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", h.dir, needsRoot(err))
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another daemon looks after the ports in %s", h.dir)
		}
		return nil, fmt.Errorf("claim %s: %w", h.dir, err)
	}
	return func() { dir.Close() }, nil
}
