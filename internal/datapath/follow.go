package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// Moved is a guarded device that got another name.
type Moved struct{ From, To string }

// movingPrefix begins the directory of a port whose name is another's by now and
// that has a new one too. No device has such a name: escapeName makes none of it.
const movingPrefix = "%moving"

// Follow gives each port the name that its device has now: a port is named like
// its device, so that a policy, its counters and connections stay with the guest
// that they are about. devices are all there are, by name. If the device that
// had the name before is gone, what was pinned of it is forgotten. What fails
// does not keep other ports from being renamed.
func (h *Host) Follow(ctx context.Context, devices map[string]device.Device) ([]Moved, error) {
	f := &follower{h, devices, map[int]string{}}
	for name, d := range devices {
		f.names[d.Index] = name
	}
	var moved []Moved
	var faults []error
	// The second time for those that had to make room the first time.
	for range 2 {
		entries, err := os.ReadDir(filepath.Join(h.dir, "ports"))
		if err != nil {
			return moved, fmt.Errorf("list the ports: %w", needsRoot(err))
		}
		for _, e := range entries {
			switch to, err := f.follow(ctx, e.Name()); {
			case err != nil:
				faults = append(faults, portError("rename", unescapeName(e.Name()), err))
			case to != "" && !strings.HasPrefix(e.Name(), movingPrefix):
				moved = append(moved, Moved{unescapeName(e.Name()), to})
			}
		}
	}
	return moved, errors.Join(faults...)
}

// follower knows the devices of this namespace, by name and by index.
type follower struct {
	*Host
	devices map[string]device.Device
	names   map[int]string
}

// follow renames one port's directory if it must be; to is the new name.
func (f *follower) follow(ctx context.Context, name string) (to string, err error) {
	dir := filepath.Join(f.dir, "ports", name)
	to, err = f.nameNow(dir)
	if err != nil || to == "" || escapeName(to) == name {
		return "", err
	}
	if err := f.makeRoom(ctx, to); err != nil {
		return "", err
	}
	return to, renameDir(ctx, dir, f.portDir(to))
}

// nameNow is the name of the device that a port's programs are on; "" if there
// is none in this namespace.
func (f *follower) nameNow(dir string) (string, error) {
	generations, err := f.generations.of(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // renamed or released meanwhile
	}
	if err != nil {
		return "", err
	}
	s := &portState{dir: dir, generations: generations}
	p := Port{}
	_, linked, err := s.attachedPrograms(&p)
	switch {
	case err != nil:
		return "", err
	case p.Ifindex == 0 && !linked && s.last() != nil:
		return f.nameByFilter(s)
	}
	name := f.names[p.Ifindex]
	// Indices are those of the namespace that the device is in.
	if last := s.last(); last != nil && last.binding.Namespace != f.devices[name].Namespace {
		return "", nil
	}
	return name, nil
}

// nameByFilter looks for clsact filters of the port on the device that it was
// bound to.
func (f *follower) nameByFilter(s *portState) (string, error) {
	b := s.last().binding
	dev := f.devices[f.names[b.Ifindex]]
	if dev.Index == 0 || dev.Namespace != b.Namespace {
		return "", nil
	}
	for _, d := range policy.Directions {
		id, err := (&clsact{dev}).attached(d)
		if err != nil {
			return "", err
		}
		if s.of(id, d) != nil {
			return dev.Name, nil
		}
	}
	return "", nil
}

// makeRoom takes away what has a port's name: for good if its device is gone,
// else until it is renamed in its turn.
func (f *follower) makeRoom(ctx context.Context, port string) error {
	dir := f.portDir(port)
	if !exists(dir) {
		return nil
	}
	now, err := f.nameNow(dir)
	switch {
	case err != nil:
		return err
	case now == "":
		return f.removeGone(ctx, port)
	}
	for n := 1; ; n++ {
		if aside := filepath.Join(f.dir, "ports", movingPrefix+strconv.Itoa(n)); !exists(aside) {
			return renameDir(ctx, dir, aside)
		}
	}
}

// removeGone forgets a port whose device is gone, without looking at the device
// that has its name by now.
func (h *Host) removeGone(ctx context.Context, port string) error {
	l, err := lockDir(ctx, h.portDir(port), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.unlock()
	state, err := h.look(port, device.Device{})
	if err != nil {
		return err
	}
	if len(state.sightings) > 0 {
		return fmt.Errorf("the name %s is that of a port in another network namespace; release it there first", port)
	}
	return h.clear(state)
}

// renameDir renames a port's directory while nobody works in it.
func renameDir(ctx context.Context, from, to string) error {
	l, err := lockDir(ctx, from, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.unlock()
	return os.Rename(from, to)
}
