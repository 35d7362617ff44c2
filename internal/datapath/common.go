package datapath

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath/skeleton"
)

const (
	skeletonPrefix = "skeleton_"
	statePrefix    = "state_"
	slotsPin       = "slots"
)

// version is what this program's generations have in common, by the names of the
// directories.
type version struct{ skeleton, state string }

// thisVersion is worked out once.
var thisVersion = sync.OnceValues(func() (version, error) {
	spec, err := readSkeleton()
	if err != nil {
		return version{}, err
	}
	state := stateName(spec)
	sum := sha256.New()
	fmt.Fprintln(sum, skeleton.Version(), state)
	sum.Write(conntrack.Tables())
	return version{skeletonPrefix + hex.EncodeToString(sum.Sum(nil)[:6]), state}, nil
})

// common is the pinned skeleton with its maps, and those maps of all ports that
// are asked for when a port is changed.
type common struct {
	// at is the directory that was opened: another one may have its name by now.
	at    fs.FileInfo
	maps  map[string]*ebpf.Map
	slots *slots

	users atomic.Int32

	mu       sync.Mutex
	variants map[uint32]bool // those that are known to be loaded
}

// openCommon opens a skeleton's directory; fs.ErrNotExist if there is none.
func (h *Host) openCommon(name string) (*common, error) {
	dir := filepath.Join(h.dir, name)
	at, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	c := &common{at: at, variants: map[uint32]bool{}}
	if c.maps, err = openMaps(dir, []string{slotsPin, configsMap}); err != nil {
		return nil, err
	}
	// Of the others, another version may have less.
	for _, name := range skeletonMaps {
		if c.maps[name] != nil {
			continue
		}
		one, err := openMaps(dir, []string{name})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			closeMaps(c.maps)
			return nil, err
		}
		maps.Copy(c.maps, one)
	}
	if c.slots, err = mapSlots(c.maps[slotsPin]); err != nil {
		closeMaps(c.maps)
		return nil, err
	}
	return c, nil
}

func (c *common) close() {
	if c.users.Add(-1) == 0 {
		c.slots.close()
		closeMaps(c.maps)
	}
}

// common opens the skeleton's directory of a name, for the caller to close. It
// stays open: what was opened before is taken if it is still the same. The
// caller holds the host's lock, shared at least, or a port's that has a slot
// there, so that the directory stays.
func (h *Host) common(name string) (*common, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.open[name]; c != nil {
		at, err := os.Stat(filepath.Join(h.dir, name))
		if err != nil {
			return nil, err
		}
		if os.SameFile(c.at, at) {
			c.users.Add(1)
			return c, nil
		}
		delete(h.open, name)
		c.close()
	}
	c, err := h.openCommon(name)
	if err != nil {
		return nil, err
	}
	if h.open == nil {
		h.open = map[string]*common{}
	}
	h.open[name] = c
	c.users.Store(2) // the host and the caller
	return c, nil
}

// closeCommon closes what stays open of a directory.
func (h *Host) closeCommon(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.open[name]; c != nil {
		delete(h.open, name)
		c.close()
	}
}

// enter gives the skeleton for a generation with these features and a slot in
// it, and makes what is not there yet. The binding of the generation is pinned
// already: whoever finds it there frees the slot.
func (h *Host) enter(ctx context.Context, f features, owner uint64) (*common, uint32, error) {
	v, err := thisVersion()
	if err != nil {
		return nil, 0, err
	}
	for range 3 {
		c, slot, err := h.tryEnter(ctx, v, f, owner)
		if !errors.Is(err, fs.ErrNotExist) {
			return c, slot, err
		}
		if err := h.prepareVariant(ctx, v, f); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, errors.New("somebody removes the skeleton again and again")
}

// tryEnter fails with fs.ErrNotExist where something is missing. A skeleton in
// which a slot is taken stays: tidy looks for slots under the exclusive lock.
func (h *Host) tryEnter(ctx context.Context, v version, f features, owner uint64) (*common, uint32, error) {
	l, err := lockDir(ctx, h.dir, unix.LOCK_SH)
	if err != nil {
		return nil, 0, err
	}
	defer l.unlock()
	c, err := h.common(v.skeleton)
	if err != nil {
		return nil, 0, err
	}
	there, err := c.hasVariant(f)
	if err == nil && !there {
		err = fs.ErrNotExist
	}
	slot := uint32(0)
	if err == nil {
		slot, err = c.slots.take(owner)
	}
	if err != nil {
		c.close()
		return nil, 0, err
	}
	return c, slot, nil
}

func (c *common) hasVariant(f features) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.variants[f.variant()] {
		there, err := hasVariant(c.maps, f)
		if !there {
			return false, err
		}
		c.variants[f.variant()] = true
	}
	return true, nil
}

// prepareVariant makes the maps that all ports share, the skeleton's directory
// and the skeleton for features, as far as they are not there.
func (h *Host) prepareVariant(ctx context.Context, v version, f features) error {
	l, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer l.unlock()
	spec, err := readSkeleton()
	if err != nil {
		return err
	}
	state, err := h.openState(v.state, spec)
	if err != nil {
		return err
	}
	defer closeMaps(state)
	c, err := h.common(v.skeleton)
	if errors.Is(err, fs.ErrNotExist) {
		if err := h.makeCommon(v.skeleton, spec); err != nil {
			return fmt.Errorf("make the skeleton that all ports share: %w", needsRoot(err))
		}
		c, err = h.common(v.skeleton)
	}
	if err != nil {
		return err
	}
	defer c.close()
	if there, err := c.hasVariant(f); there || err != nil {
		return err
	}
	ring, err := h.openObservations(spec.Maps[observationsPin])
	if err != nil {
		return err
	}
	defer ring.Close()
	all := map[string]*ebpf.Map{observationsPin: ring}
	maps.Copy(all, state)
	maps.Copy(all, c.maps)
	return loadVariant(spec, f, all)
}

// makeCommon makes a skeleton's directory, without any variant. Nothing in it
// goes when a process ends: a prog array is emptied when nobody holds on to it,
// and a pin does.
func (h *Host) makeCommon(name string, spec *ebpf.CollectionSpec) error {
	return h.makeAside(filepath.Join(h.dir, name), func(aside string) error {
		specs := []*ebpf.MapSpec{newSlotsSpec(spec.Maps[configsMap].MaxEntries)}
		for _, name := range skeletonMaps {
			specs = append(specs, spec.Maps[name])
		}
		for _, m := range specs {
			if err := pinNew(m, filepath.Join(aside, m.Name)); err != nil {
				return fmt.Errorf("map %s: %w", m.Name, err)
			}
		}
		return nil
	})
}

func pinNew(spec *ebpf.MapSpec, path string) error {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return err
	}
	defer m.Close()
	if spec.Name == automataMap {
		if err := m.Freeze(); err != nil {
			return err
		}
	}
	return m.Pin(path)
}

// leave frees the slots of a port number in a skeleton, but those of the
// generations that keep tells. No packet is on its way through them any more.
func (c *common) leave(number uint32, keep func(generation int) bool) error {
	for slot, generation := range c.slots.of(number) {
		if keep(generation) {
			continue
		}
		if err := c.maps[configsMap].Put(slot, &skeletonConfig{}); err != nil {
			return fmt.Errorf("leave the slot %d: %w", slot, err)
		}
		c.slots.free(slot)
	}
	return nil
}
