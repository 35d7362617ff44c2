package datapath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"tapgate/internal/compile"
	"tapgate/internal/device"
	"tapgate/internal/ipset"
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
	if missing := compile.Unsupported(p); len(missing) > 0 {
		return Change{}, &UnsupportedError{missing}
	}
	dev, err := device.ByName(port)
	if err != nil {
		return Change{}, err
	}
	sets, err := ReadSets(p)
	if err != nil {
		return Change{}, err
	}
	l, err := h.lockPort(ctx, port)
	if err != nil {
		return Change{}, err
	}
	change, err := h.guard(ctx, dev, p, sets, meta)
	if err != nil {
		// Succeeds only if there is nothing in it.
		_ = os.Remove(h.portDir(port))
	}
	l.unlock()
	if err != nil {
		_ = h.tidy(context.WithoutCancel(ctx))
		return change, portError("guard", port, err)
	}
	return change, nil
}

func (h *Host) guard(ctx context.Context, dev device.Device, p *policy.Policy, sets ipset.Sets, meta Meta) (Change, error) {
	state, err := h.look(dev.Name, dev)
	if err != nil {
		return Change{}, err
	}
	if err := state.boundElsewhere(dev); err != nil {
		return Change{}, err
	}
	if err := h.repair(state); err != nil {
		return Change{}, err
	}
	change := Change{Notes: setNotes(p, sets)}
	before := state.newest()
	if before != nil {
		change.Replaced, change.Before = true, before.binding.Filter
	}
	g, loaded, err := h.build(ctx, state, before, describe(p, meta, dev), p, sets, &change)
	if err != nil {
		return change, err
	}
	defer loaded.Close()
	if err := h.attach(state, dev, loaded, &change); err != nil {
		return change, errors.Join(err, h.drop(g, state.generations))
	}
	state.generations = append(state.generations, g)
	waitForPrograms()
	if err := h.settle(state); err != nil {
		change.Notes = append(change.Notes, err.Error())
	}
	return change, nil
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

// build makes the next generation, aside first, and renames it into place.
// Nothing is attached yet.
func (h *Host) build(ctx context.Context, state *portState, before *generation, b Binding, p *policy.Policy, sets ipset.Sets, change *Change) (*generation, *ebpf.Collection, error) {
	var err error
	if before != nil {
		b.Number = before.binding.Number
	} else if b.Number, err = h.takeNumber(ctx); err != nil {
		return nil, nil, err
	}
	number := 1
	if last := state.last(); last != nil {
		number = last.number + 1
	}
	config := Config{Port: b.Number, Swapped: swapped(b.Kind), Generation: uint32(number), Sets: sets}
	spec, err := newSpec(p, config.With(b.Settings.Settings()), false)
	if err != nil {
		return nil, nil, err
	}
	common, err := h.openShared(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	defer common.close()
	b.State = common.name
	if before != nil && before.binding.State != b.State {
		change.Notes = append(change.Notes, "connections start anew: this version keeps them in another form")
	}
	b.Sets = useSets(p, sets)
	b.Layouts = map[string]string{}
	for _, name := range keptMaps {
		b.Layouts[name] = mapLayout(spec.Maps[name])
	}
	taken, err := before.takeOver(&b)
	if err != nil {
		return nil, nil, err
	}
	defer closeMaps(taken)
	if before != nil && taken["fragments"] == nil {
		change.Notes = append(change.Notes, "fragments that wait for the rest start anew: this version keeps them in another form")
	}
	automata, err := h.openAutomata(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	defer automata.Close()
	replacements := map[string]*ebpf.Map{automataMap: automata}
	for _, maps := range []map[string]*ebpf.Map{common.maps, taken} {
		for name, m := range maps {
			replacements[name] = m
		}
	}

	aside := filepath.Join(state.dir, asideName)
	if err := os.Mkdir(aside, 0o700); err != nil {
		return nil, nil, fmt.Errorf("build the programs aside: %w", err)
	}
	// The binding comes first, so that repair knows of the number.
	loaded, err := h.buildAside(aside, b, spec, common.maps["ports"], replacements)
	if err == nil {
		if err = errors.Join(pinSets(aside, loaded.Maps, p, sets), nameClauses(loaded.Maps, p)); err != nil {
			loaded.Close()
		}
	}
	dir := filepath.Join(state.dir, strconv.Itoa(number))
	if err == nil {
		if err = os.Rename(aside, dir); err != nil {
			loaded.Close()
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, h.dropAside(state, aside))
	}
	g, err := readGeneration(dir, number)
	if err != nil {
		loaded.Close()
		return nil, nil, err
	}
	return g, loaded, nil
}

func (h *Host) buildAside(dir string, b Binding, spec *ebpf.CollectionSpec, ports *ebpf.Map, replacements map[string]*ebpf.Map) (*ebpf.Collection, error) {
	if err := pinJSON(filepath.Join(dir, bindingPin), bindingPin, b); err != nil {
		return nil, err
	}
	entry, err := ports.LookupBytes(b.Number)
	if err == nil && entry == nil {
		err = openPort(ports, b.Number)
	}
	if err != nil {
		return nil, err
	}
	loaded, err := load(spec, replacements)
	if err != nil {
		return nil, err
	}
	if err := pinGeneration(dir, loaded); err != nil {
		loaded.Close()
		return nil, fmt.Errorf("pin the programs: %w", err)
	}
	return loaded, nil
}

// takeOver opens the maps that live on in the next generation, which are those
// of an unchanged layout.
func (g *generation) takeOver(next *Binding) (map[string]*ebpf.Map, error) {
	if g == nil {
		return nil, nil
	}
	var names []string
	for _, name := range keptMaps {
		if g.binding.Layouts[name] == next.Layouts[name] {
			names = append(names, name)
		}
	}
	return openMaps(g.dir, names)
}

// attach puts the loaded programs in force, by the mechanism that is in use,
// or else by the best there is.
func (h *Host) attach(state *portState, dev device.Device, loaded *ebpf.Collection, change *Change) error {
	var pair [2]*ebpf.Program
	for d, name := range programs {
		pair[d] = loaded.Programs[name]
	}
	mechanism := h.mechanism
	if mechanism == Automatic {
		mechanism = TCX
		if len(state.sightings) > 0 {
			mechanism = state.sightings[0].mechanism()
		}
	}
	err := state.attachBy(mechanism, dev, pair)
	if h.mechanism == Automatic && mechanism == TCX && errors.Is(err, ebpf.ErrNotSupported) {
		mechanism = Clsact
		change.Notes = append(change.Notes, "attached by clsact: tcx needs Linux 6.6")
		err = state.attachBy(mechanism, dev, pair)
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

func (s *portState) attachBy(m Mechanism, dev device.Device, pair [2]*ebpf.Program) error {
	var before [2]*ebpf.Program
	for _, seen := range s.sightings {
		if seen.mechanism() != m {
			continue
		}
		for _, d := range policy.Directions {
			if seen.programs[d] == 0 {
				continue
			}
			p, err := ebpf.NewProgramFromID(seen.programs[d])
			if err != nil {
				return err
			}
			defer p.Close()
			before[d] = p
		}
	}
	return attachBoth(newAttachment(m, s.dir, dev), pair, before)
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		m.Close()
	}
}
