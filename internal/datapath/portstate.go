package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// portState is what stands of a port on the bpffs and on its device.
type portState struct {
	name, dir   string
	generations []*generation
	// sightings are the mechanisms by which anything is attached.
	sightings []sighting
	// shut is the program that drops everything; 0 if no port was ever shut.
	shut ebpf.ProgramID
}

// sighting is what one mechanism has attached.
type sighting struct {
	attachment
	programs [2]ebpf.ProgramID
}

// look reads a port. Without a device (the zero value), clsact filters are not
// looked for.
func (h *Host) look(name string, dev device.Device) (*portState, error) {
	s := &portState{name: name, dir: h.portDir(name)}
	var err error
	if s.generations, err = h.generations.of(s.dir); err != nil {
		return nil, needsRoot(err)
	}
	if s.shut, err = h.shutProgramID(); err != nil {
		return nil, needsRoot(err)
	}
	for _, m := range []Mechanism{TCX, Clsact} {
		if m == Clsact && (dev.Index == 0 || h.mechanism == Automatic && s.linkedWhole()) {
			continue
		}
		seen := sighting{attachment: newAttachment(m, s.dir, dev)}
		for _, d := range policy.Directions {
			if seen.programs[d], err = seen.attached(d); err != nil {
				return nil, needsRoot(err)
			}
		}
		if seen.programs != [2]ebpf.ProgramID{} {
			s.sightings = append(s.sightings, seen)
		}
	}
	return s, nil
}

// linkedWhole tells whether links have both directions in force: Automatic never
// attaches by both mechanisms.
func (s *portState) linkedWhole() bool {
	force := s.inForce()
	return force[policy.In] != nil && force[policy.Out] != nil
}

// of finds the generation that a program belongs to.
func (s *portState) of(id ebpf.ProgramID, d policy.Direction) *generation {
	for _, g := range s.generations {
		if id != 0 && g.programs[d] == id {
			return g
		}
	}
	return nil
}

// inForce gives the generation that decides in each direction, nil if none.
func (s *portState) inForce() [2]*generation {
	var force [2]*generation
	for _, seen := range s.sightings {
		for _, d := range policy.Directions {
			if g := s.of(seen.programs[d], d); g != nil {
				force[d] = g
			}
		}
	}
	return force
}

// newest gives the newest generation that is in force in a direction.
func (s *portState) newest() *generation {
	var newest *generation
	for _, g := range s.inForce() {
		if g != nil && (newest == nil || g.number > newest.number) {
			newest = g
		}
	}
	return newest
}

// upTo gives the generations that count towards g.
func (s *portState) upTo(g *generation) []*generation {
	for i := range s.generations {
		if s.generations[i] == g {
			return s.generations[:i+1]
		}
	}
	return nil
}

// last gives the newest generation, in force or not.
func (s *portState) last() *generation {
	if len(s.generations) == 0 {
		return nil
	}
	return s.generations[len(s.generations)-1]
}

// repair finishes or undoes what a change that was interrupted left behind.
// The caller holds the port's lock.
func (h *Host) repair(s *portState) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		switch {
		case e.Name() == asideName:
			err = h.dropAside(s, path)
		case strings.HasPrefix(e.Name(), removedPrefix):
			err = os.RemoveAll(path)
		case strings.HasPrefix(e.Name(), "link_") && strings.HasSuffix(e.Name(), "_new"):
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("clear up after an interrupted change: %w", err)
		}
	}
	newest := s.newest()
	if newest != nil && s.last() != newest {
		waitForPrograms() // they may have been in force in one direction
	}
	for newest != nil && s.last() != newest {
		if err := h.drop(s.last(), s.generations[:len(s.generations)-1]); err != nil {
			return err
		}
		s.generations = s.generations[:len(s.generations)-1]
	}
	if force := s.inForce(); newest != nil && force[policy.In] == force[policy.Out] {
		return h.settle(s)
	}
	return nil
}

// settle lets the last generation, which is in force, take over the counts and
// removes those before it.
func (h *Host) settle(s *portState) error {
	if len(s.generations) < 2 {
		return nil
	}
	last := s.last()
	if err := carry(s.generations); err != nil {
		return fmt.Errorf("take over the counts: %w", err)
	}
	for len(s.generations) > 1 {
		if err := h.drop(s.generations[0], []*generation{last}); err != nil {
			return err
		}
		s.generations = s.generations[1:]
	}
	return nil
}

// drop removes a generation, and its connections unless one of others has the
// same. No packet is on its way through it any more.
func (h *Host) drop(g *generation, others []*generation) error {
	if err := h.forget(&g.binding, others); err != nil {
		return err
	}
	if err := g.remove(); err != nil {
		return fmt.Errorf("remove what was in force before: %w", err)
	}
	return nil
}

// dropAside removes a generation that was never finished.
func (h *Host) dropAside(s *portState, path string) error {
	var b Binding
	err := readJSON(filepath.Join(path, bindingPin), &b)
	if err == nil {
		err = h.forget(&b, s.generations)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(path)
}

// forget takes a generation out of what is common to all: its slot, and, unless
// one of others uses it, its port's number.
func (h *Host) forget(b *Binding, others []*generation) error {
	uses := func(match func(*generation) bool) bool {
		return slices.ContainsFunc(others, func(o *generation) bool { return o.binding.Number == b.Number && match(o) })
	}
	if b.Skeleton != "" {
		c, err := h.common(b.Skeleton)
		if err == nil {
			defer c.close()
			err = c.leave(b.Number, func(number int) bool {
				return uses(func(o *generation) bool { return o.number == number })
			})
			observed := c.maps[observedMap]
			if err == nil && observed != nil && !uses(func(o *generation) bool { return o.binding.Skeleton == b.Skeleton }) {
				err = closeObserved(observed, b.Number)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !uses(func(*generation) bool { return true }) {
		if err := h.forgetMemory(b.Number); err != nil {
			return fmt.Errorf("forget what is known of the port: %w", err)
		}
	}
	return h.closeNumber(b, others)
}

// closeNumber deletes the entry of a port number, and so its connections,
// unless one of others uses it.
func (h *Host) closeNumber(b *Binding, others []*generation) error {
	for _, o := range others {
		if o.binding.Number == b.Number && o.binding.State == b.State {
			return nil
		}
	}
	ports, err := ebpf.LoadPinnedMap(filepath.Join(h.dir, b.State, "ports"), nil)
	if errors.Is(err, fs.ErrNotExist) || b.State == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forget the port's connections: %w", err)
	}
	defer ports.Close()
	if err := ports.Delete(b.Number); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget the port's connections: %w", err)
	}
	state := filepath.Join(h.dir, b.State)
	if err := errors.Join(forgetHelpers(state, b.Number), forgetFragments(state, b.Number)); err != nil {
		return fmt.Errorf("forget what is known of the port: %w", err)
	}
	return nil
}
