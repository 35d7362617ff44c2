// Package datapath loads policies into the kernel, attaches them to ports and
// reads back what they counted.
package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sync/errgroup"

	"tapgate/internal/compile"
	"tapgate/internal/ipset"
	"tapgate/internal/policy"
)

// pair is a generation's two programs as they were loaded, with the maps that
// are its own.
type pair struct {
	programs [2]*ebpf.Program
	maps     map[string]*ebpf.Map
}

// Maps of a generation. Its sets have maps of their own, too.
const (
	clausesMap = "clauses"
	totalsMap  = "totals"
	namesMap   = "clause_names"
)

// countMaps are those that are read by whoever asks for the port's counters.
var countMaps = []string{clausesMap, totalsMap}

// loadPair compiles and loads a policy for a slot. The programs use maps of their
// own, of the skeleton, and of all ports.
func loadPair(p *policy.Policy, sets ipset.Sets, slot uint32, skeleton, shared map[string]*ebpf.Map) (*pair, error) {
	t, err := readTemplate()
	if err != nil {
		return nil, err
	}
	own := &pair{}
	if own.maps, err = t.makeMaps(p, sets); err != nil {
		return nil, err
	}
	maps := func(name string) *ebpf.Map { return cmp.Or(own.maps[name], skeleton[name], shared[name]) }
	load := func(d policy.Direction) error {
		code, err := t.compile(p, d, sets, slot)
		if err == nil {
			own.programs[d], err = loadProgram(programs[d], code, maps)
		}
		return err
	}
	if err := inBothDirections(load, len(p.Clauses) >= parallelFrom); err != nil {
		own.close()
		return nil, err
	}
	return own, nil
}

// parallelFrom is the number of clauses from which on the verifier takes long
// enough for the directions to be loaded at once. Below, several ports may be
// loaded at once, and threads only cost.
const parallelFrom = 500

func inBothDirections(fn func(policy.Direction) error, atOnce bool) error {
	var group errgroup.Group
	for _, d := range policy.Directions {
		if atOnce {
			group.Go(func() error { return fn(d) })
		} else if err := fn(d); err != nil {
			return err
		}
	}
	return group.Wait()
}

func (p *pair) close() {
	for _, prog := range p.programs {
		prog.Close()
	}
	closeMaps(p.maps)
}

// makeMaps makes a generation's own maps, and fills in names and sets.
func (t *template) makeMaps(p *policy.Policy, sets ipset.Sets) (map[string]*ebpf.Map, error) {
	specs := []*ebpf.MapSpec{t.mapSpec(totalsMap, 2), t.mapSpec(clausesMap, len(p.Clauses))}
	if p.Facts.Tracked() {
		specs = append(specs, t.mapSpec(namesMap, len(p.Clauses)))
	}
	for i, name := range p.SetNames() {
		specs = append(specs, setMapSpec(compile.SetMap(i), sets[name]))
	}
	maps := map[string]*ebpf.Map{}
	for _, spec := range specs {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			closeMaps(maps)
			return nil, fmt.Errorf("make the port's map %s: %w", spec.Name, needsRoot(err))
		}
		maps[spec.Name] = m
	}
	if err := errors.Join(nameClauses(maps, p), fillSets(maps, p, sets)); err != nil {
		closeMaps(maps)
		return nil, err
	}
	return maps, nil
}

// mapSpec leaves out the types: nobody but this package reads these maps.
func (t *template) mapSpec(name string, entries int) *ebpf.MapSpec {
	spec := t.maps[name]
	return &ebpf.MapSpec{
		Name: name, Type: spec.Type, KeySize: spec.KeySize, ValueSize: spec.ValueSize, MaxEntries: uint32(max(entries, 1)),
	}
}

func (t *template) compile(p *policy.Policy, d policy.Direction, sets ipset.Sets, slot uint32) (asm.Instructions, error) {
	functions, err := compile.Compile(p, d, t.layout, sets)
	if err != nil {
		return nil, fmt.Errorf("compile direction %s: %w", d, err)
	}
	variant := featuresOf(p).variant()
	numbers := map[int64]uint32{generationSlot: slot, firstStep: stepPlace(variant, 0), linkFirst: 0}
	if d == policy.Out && len(p.Link[d].Items) > 0 {
		numbers[linkFirst] = 1
	}
	functions = append(functions, callStep(variant, stepEnter))
	if !p.Facts.Tracked() {
		functions = append(functions, constant(nameStub, 0))
	} else if numbers[linkFirst] != 0 {
		functions = append(functions, callStep(variant, stepClassify))
	}
	return t.splice(d, functions, numbers), nil
}

func loadProgram(name string, code asm.Instructions, maps func(name string) *ebpf.Map) (*ebpf.Program, error) {
	for i := range code {
		if in := &code[i]; in.IsLoadFromMap() {
			m := maps(in.Reference())
			if m == nil {
				return nil, fmt.Errorf("the program %s asks for a map %q that is not there", name, in.Reference())
			}
			if err := in.AssociateMap(m); err != nil {
				return nil, fmt.Errorf("refer to the map %s: %w", in.Reference(), err)
			}
		}
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: code, License: "GPL"})
	if err != nil {
		if root := needsRoot(err); errors.Is(root, ErrNeedsRoot) {
			return nil, root
		}
		return nil, loadError(err)
	}
	return prog, nil
}

// pin pins what is read later, and the programs, in dir.
func (p *pair) pin(dir string) error {
	for d, prog := range p.programs {
		if err := prog.Pin(filepath.Join(dir, programPin+policy.Direction(d).String())); err != nil {
			return fmt.Errorf("pin the programs: %w", err)
		}
	}
	for _, name := range countMaps {
		if err := p.maps[name].Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin the counters: %w", err)
		}
	}
	return nil
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		m.Close()
	}
}
