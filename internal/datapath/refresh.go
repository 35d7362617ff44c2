package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tapgate/internal/compile"
	"tapgate/internal/device"
	"tapgate/internal/ipset"
)

// SetChange is what a refresh did to a set of a port.
type SetChange struct {
	Port string `json:"port"`
	SetState
	Added   int `json:"added"`
	Removed int `json:"removed"`
	// Changed is set if members or fault are others than before.
	Changed bool `json:"changed"`
	// Failed says why the set could not be read; it keeps its members.
	Failed string `json:"failed,omitempty"`
}

// RefreshSets brings the sets of a port up to the kernel's, those of all ports
// for "". A set that is gone, or of another type, is emptied. Ports of other
// network namespaces are left out: sets belong to a namespace.
func (h *Host) RefreshSets(ctx context.Context, port string) ([]SetChange, error) {
	r := &refresh{Host: h, read: map[string]kernelSet{}}
	if port != "" {
		return r.port(ctx, port, true)
	}
	entries, err := os.ReadDir(filepath.Join(h.dir, "ports"))
	if err != nil {
		return nil, fmt.Errorf("list the ports: %w", needsRoot(err))
	}
	var all []SetChange
	var faults []error
	for _, e := range entries {
		changes, err := r.port(ctx, unescapeName(e.Name()), false)
		all = append(all, changes...)
		var gone *NotGuardedError
		if err != nil && !errors.As(err, &gone) {
			faults = append(faults, err)
		}
	}
	return all, errors.Join(faults...)
}

// refresh reads each set once.
type refresh struct {
	*Host
	read map[string]kernelSet
}

type kernelSet struct {
	set    *ipset.Set
	digest [32]byte
	err    error
}

func (r *refresh) kernel(name string) kernelSet {
	known, ok := r.read[name]
	if !ok {
		if known.set, known.err = ipset.Read(name); known.err == nil {
			known.digest = known.set.Digest()
		}
		r.read[name] = known
	}
	return known
}

// port refreshes all generations of a port: two judge it where a change was
// interrupted.
func (r *refresh) port(ctx context.Context, port string, only bool) ([]SetChange, error) {
	if !isPortName(port) {
		return nil, &NotGuardedError{port}
	}
	l, err := lockDir(ctx, r.portDir(port), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotGuardedError{port}
	}
	if err != nil {
		return nil, err
	}
	defer l.unlock()
	generations, err := r.generations.of(r.portDir(port))
	if err != nil {
		return nil, portError("refresh the sets of", port, err)
	}
	if len(generations) == 0 {
		return nil, &NotGuardedError{port}
	}
	namespace, err := device.Namespace()
	if err != nil {
		return nil, err
	}
	var changes []SetChange
	for _, g := range generations {
		if g.binding.Namespace != namespace {
			if only {
				return nil, portError("refresh the sets of", port, errors.New("it was bound in another network namespace, to which its sets belong"))
			}
			continue
		}
		if changes, err = r.generation(g); err != nil {
			return changes, portError("refresh the sets of", port, err)
		}
	}
	for i := range changes {
		changes[i].Port = port
	}
	return changes, nil
}

func (r *refresh) generation(g *generation) ([]SetChange, error) {
	states, err := g.setStates()
	if err != nil {
		return nil, err
	}
	changes := make([]SetChange, len(states))
	for i, state := range states {
		if changes[i], err = r.set(g, i, state); err != nil {
			return changes[:i], err
		}
	}
	return changes, nil
}

func (r *refresh) set(g *generation, i int, before SetState) (SetChange, error) {
	change := SetChange{SetState: before}
	record := setRecord{ReadAt: time.Now().UnixNano()}
	kernel := r.kernel(before.Name)
	set, err := kernel.set, kernel.err
	var unsupported *ipset.UnsupportedError
	switch {
	case errors.Is(err, ipset.ErrNotFound):
		record.Fault = setGone
	case errors.As(err, &unsupported):
		record.Fault = setChanged
	case err != nil:
		change.Failed = err.Error()
		return change, nil
	default:
		compiled, err := ipset.New(before.Name, before.Type, max(before.Family, 4))
		if err != nil || !compiled.Shape.Equal(set.Shape) {
			record.Fault, set = setChanged, nil
			break
		}
		record.Members, record.Digest = uint32(set.Len()), kernel.digest
	}
	difference, err := g.updateSet(i, set, record)
	if err != nil {
		return change, fmt.Errorf("bring the set %q up to date: %w", before.Name, err)
	}
	change.Added, change.Removed = difference.added, difference.removed
	change.Members, change.ReadAt, change.Fault = int(record.Members), time.Unix(0, record.ReadAt).UTC(), record.Fault.text(before.Name)
	change.Changed = change.Added+change.Removed > 0 || change.Fault != before.Fault
	return change, nil
}

// updateSet makes the nth set of a generation hold what was read, and notes it.
// A map whose digest is that of the set is not looked at.
func (g *generation) updateSet(n int, set *ipset.Set, record setRecord) (setDifference, error) {
	var d setDifference
	records, err := g.openMap(setStatePin)
	if err != nil {
		return d, err
	}
	defer records.Close()
	var before setRecord
	if err := records.Lookup(uint32(n), &before); err != nil {
		return d, err
	}
	if before.Digest != record.Digest || set == nil {
		m, err := g.openMap(compile.SetMap(n))
		if err != nil {
			return d, err
		}
		defer m.Close()
		before.Digest = [32]byte{}
		if err := records.Put(uint32(n), &before); err != nil {
			return d, err
		}
		if d, err = updateSet(m, set); err != nil {
			return d, err
		}
	}
	return d, records.Put(uint32(n), &record)
}
