package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Repaired is what was found of an interrupted change and put right.
type Repaired struct{ Port, Found string }

// Repair finishes or undoes what interrupted changes left behind at all ports.
// A port between two policies stays so until it is guarded anew: what should be
// in force is not known here. What fails does not keep other ports from it.
func (h *Host) Repair(ctx context.Context) ([]Repaired, error) {
	entries, err := os.ReadDir(filepath.Join(h.dir, "ports"))
	if err != nil {
		return nil, fmt.Errorf("list the ports: %w", needsRoot(err))
	}
	var repaired []Repaired
	var faults []error
	for _, e := range entries {
		port := unescapeName(e.Name())
		found, err := h.repairPort(ctx, port)
		if found != "" {
			repaired = append(repaired, Repaired{port, found})
		}
		if err != nil {
			faults = append(faults, portError("repair", port, err))
		}
	}
	if err := h.forgetMemories(); err != nil {
		faults = append(faults, fmt.Errorf("forget what is known of ports that are gone: %w", err))
	}
	return repaired, errors.Join(append(faults, h.tidy(ctx))...)
}

func (h *Host) repairPort(ctx context.Context, port string) (found string, err error) {
	l, err := lockDir(ctx, h.portDir(port), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer l.unlock()
	dev, err := deviceOf(port)
	if err != nil {
		return "", err
	}
	state, err := h.look(port, dev)
	if err != nil {
		return "", err
	}
	if found, err = state.leftovers(); err != nil {
		return "", err
	}
	if err := h.repair(state); err != nil {
		return found, err
	}
	if len(state.generations) == 0 && len(state.sightings) == 0 {
		// Begun, and nothing came of it. Succeeds only if nothing is in it.
		_ = os.Remove(state.dir)
	}
	return found, nil
}

// leftovers tells in words what an interrupted change left.
func (s *portState) leftovers() (string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		switch {
		case e.Name() == asideName:
			found = append(found, "programs that were being built")
		case strings.HasPrefix(e.Name(), removedPrefix):
			found = append(found, "programs that were being removed")
		case strings.HasPrefix(e.Name(), "link_") && strings.HasSuffix(e.Name(), "_new"):
			found = append(found, "an attachment that was not finished")
		}
	}
	newest := s.newest()
	force := s.inForce()
	switch {
	case newest != nil && force[0] != force[1]:
		found = append(found, "a change between the two directions")
	case newest != nil && s.last() != newest:
		found = append(found, "programs that were never in force")
	case newest != nil && len(s.generations) > 1:
		found = append(found, "programs that were replaced and not removed")
	}
	return strings.Join(found, ", "), nil
}
