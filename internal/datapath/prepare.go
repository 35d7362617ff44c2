package datapath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"

	"tapgate/internal/compile"
	"tapgate/internal/device"
	"tapgate/internal/ipset"
	"tapgate/internal/policy"
)

// Prepared is a port's next generation, loaded and pinned but not in force. It
// holds the port's lock and one file descriptor until Commit or Discard. One
// that a process leaves behind is dropped by the port's next change.
type Prepared struct {
	host       *Host
	lock       *dirLock
	state      *portState
	device     device.Device
	generation *generation
	programs   [2]ebpf.ProgramID
	// replaces is the generation that is in force, nil if none is.
	replaces *generation
	change   Change
	done     bool
}

// Prepare makes a port's next generation, up to the point where nothing can
// fail any more but attaching it: a change of many ports can be refused as a
// whole. What is in force stays. Ports are prepared and committed concurrently,
// each in the network namespace of its device.
func (h *Host) Prepare(ctx context.Context, port string, p *policy.Policy, meta Meta) (*Prepared, error) {
	if missing := compile.Unsupported(p); len(missing) > 0 {
		return nil, &UnsupportedError{missing}
	}
	dev, err := device.ByName(port)
	if err != nil {
		return nil, err
	}
	sets, err := ReadSets(p)
	if err != nil {
		return nil, err
	}
	l, err := h.lockPort(ctx, port)
	if err != nil {
		return nil, err
	}
	prepared := &Prepared{host: h, lock: l, device: dev, state: &portState{dir: h.portDir(port)}}
	if err := prepared.make(ctx, p, sets, meta); err != nil {
		prepared.leave(ctx)
		return nil, portError("guard", port, err)
	}
	return prepared, nil
}

func (p *Prepared) make(ctx context.Context, policy *policy.Policy, sets ipset.Sets, meta Meta) error {
	var err error
	if p.state, err = p.host.look(p.device.Name, p.device); err != nil {
		p.state = &portState{dir: p.host.portDir(p.device.Name)}
		return err
	}
	if err := p.state.boundElsewhere(p.device); err != nil {
		return err
	}
	if err := p.host.repair(p.state); err != nil {
		return err
	}
	p.change.Notes = setNotes(policy, sets)
	if p.replaces = p.state.newest(); p.replaces != nil {
		p.change.Replaced, p.change.Before = true, p.replaces.binding.Filter
	}
	return p.build(ctx, describe(policy, meta, p.device), policy, sets)
}

// leave ends the change: it gives the port free and tidies up if nothing is left
// of it.
func (p *Prepared) leave(ctx context.Context) {
	p.done = true
	// Succeeds only if there is nothing in it.
	gone := os.Remove(p.state.dir) == nil
	p.lock.unlock()
	if gone {
		_ = p.host.tidy(context.WithoutCancel(ctx))
	}
}

// Commit puts the generation in force, in the place of the one before, without a
// moment between. If it fails, what was in force still is.
func (p *Prepared) Commit(ctx context.Context) (Change, error) {
	if p.done {
		return Change{}, errors.New("the change is over")
	}
	err := ctx.Err()
	if err == nil {
		err = p.attach()
	}
	if err != nil {
		// It may have been in force in one direction.
		waitForPrograms()
		err = errors.Join(err, p.Discard())
		return p.change, portError("guard", p.device.Name, err)
	}
	p.state.generations = append(p.state.generations, p.generation)
	waitForPrograms()
	if err := p.host.settle(p.state); err != nil {
		p.change.Notes = append(p.change.Notes, err.Error())
	}
	p.leave(ctx)
	if p.replaces != nil && p.replaces.binding.Skeleton != p.generation.binding.Skeleton {
		if err := p.host.tidy(context.WithoutCancel(ctx)); err != nil {
			p.change.Notes = append(p.change.Notes, err.Error())
		}
	}
	return p.change, nil
}

// attach puts the programs in force, which only their pins have kept: descriptors
// of all that are prepared would be many.
func (p *Prepared) attach() error {
	var pair [2]*ebpf.Program
	var err error
	for d := range pair {
		if err == nil {
			pair[d], err = p.generation.program(policy.Direction(d))
		}
		defer func() { pair[d].Close() }()
	}
	if err != nil {
		return err
	}
	return p.host.attach(p.state, p.device, pair, &p.change)
}

// Discard removes the generation; nothing to do after Commit.
func (p *Prepared) Discard() error {
	if p.done {
		return nil
	}
	err := p.host.drop(p.generation, p.state.generations)
	p.leave(context.Background())
	return err
}

// build makes the generation, aside first, and renames it into place. Nothing is
// attached yet.
func (p *Prepared) build(ctx context.Context, b Binding, policy *policy.Policy, sets ipset.Sets) error {
	v, err := thisVersion()
	if err != nil {
		return err
	}
	if before := p.replaces; before != nil {
		b.Number = before.binding.Number
		if before.binding.State != v.state {
			p.change.Notes = append(p.change.Notes, "connections start anew: this version keeps them in another form")
		}
	} else if b.Number, err = p.host.takeNumber(ctx); err != nil {
		return err
	}
	number := 1
	if last := p.state.last(); last != nil {
		number = last.number + 1
	}
	b.Skeleton, b.State, b.Sets = v.skeleton, v.state, useSets(policy, sets)

	aside := filepath.Join(p.state.dir, asideName)
	if err := os.Mkdir(aside, 0o700); err != nil {
		return fmt.Errorf("build the programs aside: %w", err)
	}
	dir := filepath.Join(p.state.dir, strconv.Itoa(number))
	err = p.buildAside(ctx, aside, &b, number, policy, sets)
	if err == nil {
		err = os.Rename(aside, dir)
	}
	if err != nil {
		return errors.Join(err, p.host.dropAside(p.state, aside))
	}
	p.generation = &generation{dir: dir, number: number, binding: b, programs: p.programs}
	p.host.generations.add(p.state.dir, p.generation)
	return nil
}

func (p *Prepared) buildAside(ctx context.Context, dir string, b *Binding, number int, policy *policy.Policy, sets ipset.Sets) error {
	// The binding comes first, so that repair knows of the port's number.
	if err := pinJSON(filepath.Join(dir, bindingPin), bindingPin, b); err != nil {
		return err
	}
	common, slot, err := p.host.enter(ctx, featuresOf(policy), slotOwner(b.Number, number))
	if err != nil {
		return err
	}
	defer common.close()
	if policy.Observe != 0 {
		if err := openObserved(common.maps[observedMap], b.Number); err != nil {
			return err
		}
	}
	shared, err := openMaps(filepath.Join(p.host.dir, b.State), sharedMapsOf(policy))
	if err != nil {
		return fmt.Errorf("open the maps that all ports share: %w", needsRoot(err))
	}
	defer closeMaps(shared)
	entry, err := openPort(shared[portsMap], b.Number)
	if err != nil {
		return err
	}
	config := Config{Port: b.Number, Swapped: swapped(b.Kind), Generation: uint32(number), Mark: entry.Mark}
	loaded, err := common.load(slot, policy, sets, config.With(b.Settings.Settings()), shared)
	if err != nil {
		return err
	}
	defer loaded.close()
	if err := loaded.pin(dir); err != nil {
		return err
	}
	for d, prog := range loaded.programs {
		if p.programs[d], err = programID(prog); err != nil {
			return err
		}
	}
	return pinSets(dir, loaded.maps, policy, sets)
}

// sharedMapsOf are the maps of all ports that a generation's own programs use,
// or that are asked for when it is made.
func sharedMapsOf(p *policy.Policy) []string {
	if p.Facts.ConnLimit { // count_limit in port.c
		return []string{portsMap, "connections", "locks", "counted", "secret"}
	}
	return []string{portsMap}
}

// load loads a generation for a slot.
func (c *common) load(slot uint32, p *policy.Policy, sets ipset.Sets, config Config, shared map[string]*ebpf.Map) (*pair, error) {
	entry, err := config.entry(p)
	if err != nil {
		return nil, err
	}
	if err := c.maps[configsMap].Put(slot, entry); err != nil {
		return nil, fmt.Errorf("configure the skeleton: %w", err)
	}
	return loadPair(p, sets, slot, c.maps, shared)
}
