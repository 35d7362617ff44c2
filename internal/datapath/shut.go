package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// shutPin is the program that drops everything, one for all ports.
const shutPin = "shut"

// dropPacket is TC_ACT_SHOT (linux/pkt_cls.h).
const dropPacket = 2

// Shut lets nothing through a port in a direction that no policy judges. It is
// for a port whose policy cannot be put in force, or is not yet: less than the
// filter allows, never more. It takes a fraction of a millisecond. A policy that
// is in force stays, unless this is to replace it.
func (h *Host) Shut(ctx context.Context, port string, replace bool) error {
	dev, err := device.ByName(port)
	if err != nil {
		return err
	}
	l, err := h.lockPort(ctx, port)
	if err != nil {
		return err
	}
	defer l.unlock()
	if err := h.shut(ctx, dev, replace); err != nil {
		_ = os.Remove(h.portDir(port))
		return portError("shut", port, err)
	}
	return nil
}

func (h *Host) shut(ctx context.Context, dev device.Device, replace bool) error {
	state, err := h.look(dev.Name, dev)
	if err != nil {
		return err
	}
	if err := state.boundElsewhere(dev); err != nil {
		return err
	}
	prog, err := h.openShut(ctx)
	if err != nil {
		return err
	}
	defer prog.Close()
	mechanism := h.mechanism
	if mechanism == Automatic {
		mechanism = TCX
		if len(state.sightings) > 0 {
			mechanism = state.sightings[0].mechanism()
		}
	}
	force := state.inForce()
	for _, m := range []Mechanism{mechanism, Clsact} {
		a := newAttachment(m, state.dir, dev)
		for _, d := range policy.Directions {
			if err == nil && (replace || force[d] == nil) {
				err = a.attach(d, prog)
			}
		}
		if h.mechanism != Automatic || m == Clsact || !errors.Is(err, ebpf.ErrNotSupported) {
			break
		}
		err = nil
	}
	if err != nil || !replace {
		return needsRoot(err)
	}
	waitForPrograms()
	return h.dropAll(state)
}

// dropAll removes all generations of a port, none of which is in force.
func (h *Host) dropAll(s *portState) error {
	for len(s.generations) > 0 {
		last := s.last()
		s.generations = s.generations[:len(s.generations)-1]
		if err := h.drop(last, s.generations); err != nil {
			return err
		}
	}
	return nil
}

// isShut tells whether a program is the one that drops everything.
func (s *portState) isShut(id ebpf.ProgramID) bool { return id != 0 && id == s.shut }

// openShut opens the program, and makes it if it is the first.
func (h *Host) openShut(ctx context.Context) (*ebpf.Program, error) {
	path := filepath.Join(h.dir, shutPin)
	prog, err := ebpf.LoadPinnedProgram(path, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		return prog, err
	}
	l, err := h.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.unlock()
	if prog, err = ebpf.LoadPinnedProgram(path, nil); !errors.Is(err, fs.ErrNotExist) {
		return prog, err
	}
	prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "tapgate_shut", Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, dropPacket), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load the program that drops everything: %w", needsRoot(err))
	}
	if err := prog.Pin(path); err != nil {
		prog.Close()
		return nil, fmt.Errorf("pin the program that drops everything: %w", needsRoot(err))
	}
	return prog, nil
}

// shutProgramID is 0 if there is no such program.
func (h *Host) shutProgramID() (ebpf.ProgramID, error) {
	prog, err := ebpf.LoadPinnedProgram(filepath.Join(h.dir, shutPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer prog.Close()
	return programID(prog)
}
