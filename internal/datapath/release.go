package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// NotGuardedError says that a port has nothing to release or to show.
type NotGuardedError struct{ Port string }

func (e *NotGuardedError) Error() string { return fmt.Sprintf("%s is not guarded", e.Port) }

// Release takes a port's programs off its device and forgets its connections
// and counters. The device may be gone.
func (h *Host) Release(ctx context.Context, port string) error {
	if !isPortName(port) {
		return &NotGuardedError{port}
	}
	l, err := lockDir(ctx, h.portDir(port), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotGuardedError{port}
	}
	if err != nil {
		return err
	}
	err = h.release(port)
	l.unlock()
	if err != nil {
		return portError("release", port, err)
	}
	return h.tidy(ctx)
}

func (h *Host) release(port string) error {
	dev, err := deviceOf(port)
	if err != nil {
		return err
	}
	state, err := h.look(port, dev)
	if err != nil {
		return err
	}
	linked, err := state.linked()
	if err != nil {
		return err
	}
	if last := state.last(); last != nil && !linked && dev.Index != 0 && last.binding.Namespace != dev.Namespace {
		return errors.New("the port was bound in another network namespace; release it there")
	}
	for _, seen := range state.sightings {
		for _, d := range policy.Directions {
			if err := seen.detach(d); err != nil {
				return err
			}
		}
	}
	return h.clear(state)
}

// clear removes all that is pinned of a port.
func (h *Host) clear(state *portState) error {
	// Links of a device that is gone, or has another name.
	for _, d := range policy.Directions {
		if err := (&tcx{portDir: state.dir}).detach(d); err != nil {
			return err
		}
	}
	if err := h.repair(state); err != nil {
		return err
	}
	waitForPrograms()
	if err := h.dropAll(state); err != nil {
		return err
	}
	return os.Remove(state.dir)
}

// deviceOf finds a port's device; the zero value if there is none.
func deviceOf(port string) (device.Device, error) {
	dev, err := device.ByName(port)
	var missing *device.NotFoundError
	if errors.As(err, &missing) {
		return device.Device{}, nil
	}
	return dev, err
}

// linked tells whether the port has bpf links.
func (s *portState) linked() (bool, error) {
	for _, d := range policy.Directions {
		_, err := os.Stat(linkPin(s.dir, d))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
