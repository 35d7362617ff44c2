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

// Maps of the skeleton by how long they live. Every other map is new in each
// generation.
var (
	// sharedMaps are one for all ports of the host.
	sharedMaps = []string{"connections", "locks", "queue", "ports", "secret", "expectations", "streams", "related", "answer", "counted", "report", "watches", "watch_tables", "watch_rings"}
	// keptMaps belong to a port and live on when its policy is changed.
	keptMaps = []string{"fragments", "rejects"}
)

// shared are the pinned maps that all ports with the same layout of shared
// maps use.
type shared struct {
	// name of its directory.
	name string
	maps map[string]*ebpf.Map
}

func (s *shared) close() {
	for _, m := range s.maps {
		m.Close()
	}
}

// openShared opens the maps that programs of the spec share with other ports,
// and makes them if they are the first. The caller holds a port's lock, so
// that the port's directory keeps them from being removed.
func (h *Host) openShared(ctx context.Context, spec *ebpf.CollectionSpec) (*shared, error) {
	l, err := h.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.unlock()
	s := &shared{name: stateName(spec)}
	s.maps, err = openMaps(filepath.Join(h.dir, s.name), sharedMaps)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err := h.makeShared(s.name, spec); err != nil {
		return nil, fmt.Errorf("make the maps that all ports share: %w", needsRoot(err))
	}
	s.maps, err = openMaps(filepath.Join(h.dir, s.name), sharedMaps)
	return s, err
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
	if err := fillTables(loaded.Maps, alone.Maps); err != nil {
		return err
	}
	return h.makeAside(filepath.Join(h.dir, name), func(aside string) error {
		if err := startSweeper(aside, loaded.Maps); err != nil {
			return err
		}
		for name, m := range loaded.Maps {
			if err := m.Pin(filepath.Join(aside, name)); err != nil {
				return err
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

// tidy removes what no port needs: maps that ports share, without ports.
func (h *Host) tidy(ctx context.Context) error {
	l, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer l.unlock()
	ports, err := os.ReadDir(filepath.Join(h.dir, "ports"))
	if err != nil || len(ports) > 0 {
		return err
	}
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "state_") || strings.HasPrefix(e.Name(), "automata_") {
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.dir, e.Name())))
		}
	}
	return err
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
func stateName(spec *ebpf.CollectionSpec) string { return "state_" + sharedLayout(spec) }

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
