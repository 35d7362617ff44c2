package datapath

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// sharedMaps are one for all ports of the host, whatever skeleton they have, if
// it has the same layout of these maps. They live on when the skeleton changes.
var sharedMaps = []string{"connections", "locks", "queue", portsMap, "secret", "expectations", "streams", "related", "fragments", "answer", "counted", "report", "watches", "watch_tables", "watch_rings"}

// openState opens the maps that all ports share, and makes them if they are not
// there. The caller holds the host's lock, and that of a port, so that the port's
// directory keeps them from being removed.
func (h *Host) openState(name string, spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	dir := filepath.Join(h.dir, name)
	maps, err := openMaps(dir, sharedMaps)
	if !errors.Is(err, fs.ErrNotExist) {
		return maps, err
	}
	if err := h.makeShared(name, spec); err != nil {
		return nil, fmt.Errorf("make the maps that all ports share: %w", needsRoot(err))
	}
	return openMaps(dir, sharedMaps)
}

func (h *Host) makeShared(name string, spec *ebpf.CollectionSpec) error {
	alone := &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{}, Types: spec.Types, ByteOrder: spec.ByteOrder}
	for _, name := range sharedMaps {
		alone.Maps[name] = spec.Maps[name].Copy()
	}
	if err := prepareTables(alone, hostTables); err != nil {
		return err
	}
	loaded, err := ebpf.NewCollection(alone)
	if err != nil {
		return err
	}
	defer loaded.Close()
	shards, err := fillTables(loaded.Maps, alone.Maps)
	defer closeMaps(shards)
	if err != nil {
		return err
	}
	return h.makeAside(filepath.Join(h.dir, name), func(aside string) error {
		if err := startSweeper(aside, loaded.Maps); err != nil {
			return err
		}
		for _, maps := range []map[string]*ebpf.Map{loaded.Maps, shards} {
			for name, m := range maps {
				if err := m.Pin(filepath.Join(aside, name)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// openMaps opens pinned maps: all or none.
func openMaps(dir string, names []string) (map[string]*ebpf.Map, error) {
	maps := map[string]*ebpf.Map{}
	for _, name := range names {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			for _, m := range maps {
				m.Close()
			}
			return nil, err
		}
		maps[name] = m
	}
	return maps, nil
}

// makeAside fills a directory under another name and renames it into place. The
// caller holds the host's lock.
func (h *Host) makeAside(dir string, fill func(aside string) error) error {
	aside := filepath.Join(h.dir, "new")
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if err := fill(aside); err != nil {
		return err
	}
	return os.Rename(aside, dir)
}

// removedName is what a directory is called while it is being removed.
const removedName = "old"

// removeAside takes a directory away whole.
func (h *Host) removeAside(name string) error {
	h.closeCommon(name)
	aside := filepath.Join(h.dir, removedName)
	if err := os.RemoveAll(aside); err != nil || name == removedName {
		return err
	}
	if err := os.Rename(filepath.Join(h.dir, name), aside); err != nil {
		return err
	}
	return os.RemoveAll(aside)
}

// tidy removes what no port needs: skeletons in which no generation has a slot,
// and, without ports, the maps that they share.
func (h *Host) tidy(ctx context.Context) error {
	l, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer l.unlock()
	ports, err := os.ReadDir(filepath.Join(h.dir, "ports"))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return err
	}
	v, err := thisVersion()
	if err != nil {
		return err
	}
	// In the order of the names: programs go before the maps that they use.
	for _, e := range entries {
		needed := len(ports) > 0
		switch {
		case e.Name() == removedName:
			needed = false
		case strings.HasPrefix(e.Name(), skeletonPrefix):
			if needed && e.Name() != v.skeleton {
				needed, err = h.skeletonUsed(e.Name())
			}
		case strings.HasPrefix(e.Name(), statePrefix):
		case e.Name() == observationsPin, e.Name() == memoriesPin:
			if !needed && (e.Name() != observationsPin || h.observers.Load() == 0) {
				err = os.Remove(filepath.Join(h.dir, e.Name()))
			}
			needed = true
		default:
			continue
		}
		if !needed && err == nil {
			err = h.removeAside(e.Name())
		}
		if err != nil {
			return fmt.Errorf("remove what no port needs: %w", err)
		}
	}
	return nil
}

// skeletonUsed tells whether any generation has a slot in a skeleton. What is
// damaged stays.
func (h *Host) skeletonUsed(name string) (bool, error) {
	c, err := h.common(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	defer c.close()
	return c.slots.used(), nil
}

// takeNumber gives a number under which no port's connections have ever been
// kept.
func (h *Host) takeNumber(ctx context.Context) (uint32, error) {
	l, err := h.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer l.unlock()
	path := filepath.Join(h.dir, "next_port")
	next, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		next, err = ebpf.NewMap(&ebpf.MapSpec{
			Name: "next_port", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1,
			Contents: []ebpf.MapKV{{Key: uint32(0), Value: uint32(1)}},
		})
		if err == nil {
			err = next.Pin(path)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("number the port: %w", needsRoot(err))
	}
	defer next.Close()
	var number uint32
	if err := next.Lookup(uint32(0), &number); err != nil {
		return 0, fmt.Errorf("number the port: %w", err)
	}
	if number == math.MaxUint32 {
		return 0, errors.New("number the port: all numbers are used up until the host is restarted")
	}
	if err := next.Put(uint32(0), number+1); err != nil {
		return 0, fmt.Errorf("number the port: %w", err)
	}
	return number, nil
}

// stateName is the directory of the maps that programs of a spec share.
func stateName(spec *ebpf.CollectionSpec) string { return statePrefix + sharedLayout(spec) }

// sharedLayout sums up the layout of the shared maps: programs can share maps
// only with programs of the same.
func sharedLayout(spec *ebpf.CollectionSpec) string {
	sum := sha256.New()
	for _, name := range sharedMaps {
		fmt.Fprintln(sum, name, mapLayout(spec.Maps[name]))
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

// mapLayout describes all that two programs which share a map must agree on.
func mapLayout(m *ebpf.MapSpec) string {
	if m == nil {
		return "-"
	}
	return fmt.Sprint(m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags,
		" ", typeLayout(m.Key), typeLayout(m.Value), " ", mapLayout(m.InnerMap))
}

func typeLayout(t btf.Type) string {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return "struct " + t.Name + membersLayout(t.Members)
	case *btf.Union:
		return "union " + t.Name + membersLayout(t.Members)
	case *btf.Array:
		return fmt.Sprintf("[%d]%s", t.Nelems, typeLayout(t.Type))
	case *btf.Int:
		return fmt.Sprintf("int%d", t.Size)
	default:
		return fmt.Sprintf("%T", t)
	}
}

func membersLayout(members []btf.Member) string {
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintf(&b, " %d:%d %s %s;", m.Offset, m.BitfieldSize, m.Name, typeLayout(m.Type))
	}
	return "{" + b.String() + "}"
}
