package datapath

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// Change tells what Guard did.
type Change struct {
	// Replaced is set if the port was guarded before, by the filter Before.
	Replaced bool   `json:"replaced"`
	Before   string `json:"before,omitempty"`
	// Mechanism by which the programs are attached.
	Mechanism Mechanism `json:"mechanism"`
	// Notes are sentences on what a person may want to know of it.
	Notes []string `json:"notes,omitempty"`
}

// UnsupportedError lists what a policy asks for and cannot be enforced.
type UnsupportedError struct{ Missing []string }

func (e *UnsupportedError) Error() string { return strings.Join(e.Missing, "\n") }

// Guard puts a policy in force on a port: in the place of the one before, if
// there is one, without a moment between. If it fails, what was in force
// still is.
func (h *Host) Guard(ctx context.Context, port string, p *policy.Policy, meta Meta) (Change, error) {
	prepared, err := h.Prepare(ctx, port, p, meta)
	if err != nil {
		return Change{}, err
	}
	return prepared.Commit(ctx)
}

// boundElsewhere fails if the name is that of another device which is still
// guarded under it.
func (s *portState) boundElsewhere(dev device.Device) error {
	last := s.last()
	if last == nil {
		return nil
	}
	linked := 0
	for _, d := range policy.Directions {
		l, err := openLink(s.dir, d)
		if err != nil {
			return err
		}
		if l.link == nil {
			continue
		}
		linked++
		l.link.Close()
		if l.ifindex == 0 {
			continue
		}
		if last.binding.Namespace != dev.Namespace {
			return errors.New("a device of this name is guarded in another network namespace; release it first")
		}
		if l.ifindex != dev.Index {
			return fmt.Errorf("the device that is guarded under this name has another now (its index is %d); release it first", l.ifindex)
		}
	}
	if linked == 0 && last.binding.Namespace != dev.Namespace {
		return errors.New("the port was bound in another network namespace; release it there first")
	}
	return nil
}

// attach puts the loaded programs in force, by the mechanism that is in use,
// or else by the best there is.
func (h *Host) attach(state *portState, dev device.Device, pair [2]*ebpf.Program, change *Change) error {
	mechanism := h.mechanism
	if mechanism == Automatic {
		mechanism = TCX
		if len(state.sightings) > 0 {
			mechanism = state.sightings[0].mechanism()
		}
	}
	err := h.attachBy(state, mechanism, dev, pair)
	if h.mechanism == Automatic && mechanism == TCX && errors.Is(err, ebpf.ErrNotSupported) {
		mechanism = Clsact
		change.Notes = append(change.Notes, "attached by clsact: tcx needs Linux 6.6")
		err = h.attachBy(state, mechanism, dev, pair)
	}
	if err != nil {
		return needsRoot(err)
	}
	change.Mechanism = mechanism
	for _, seen := range state.sightings {
		if seen.mechanism() == mechanism {
			continue
		}
		for _, d := range policy.Directions {
			if err := seen.detach(d); err != nil {
				change.Notes = append(change.Notes, err.Error())
			}
		}
	}
	return nil
}

func (h *Host) attachBy(s *portState, m Mechanism, dev device.Device, pair [2]*ebpf.Program) error {
	var before [2]ebpf.ProgramID
	for _, seen := range s.sightings {
		if seen.mechanism() == m {
			before = seen.programs
		}
	}
	var opened []*ebpf.Program
	defer func() {
		for _, prog := range opened {
			prog.Close()
		}
	}()
	return attachBoth(newAttachment(m, s.dir, dev), pair, func(d policy.Direction) (prog *ebpf.Program, err error) {
		switch g := s.of(before[d], d); {
		case g != nil:
			prog, err = g.program(d)
		case s.isShut(before[d]):
			prog, err = ebpf.LoadPinnedProgram(filepath.Join(h.dir, shutPin), nil)
		case before[d] != 0: // somebody else's
			prog, err = ebpf.NewProgramFromID(before[d])
		}
		opened = append(opened, prog)
		return prog, err
	})
}
