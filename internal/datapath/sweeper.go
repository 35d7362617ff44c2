package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"

	"tapgate/internal/datapath/skeleton"
)

// startSweeper starts the timer that removes expired connections from shared
// maps. It runs as long as its map, which is pinned in dir, beside them.
func startSweeper(dir string, shared map[string]*ebpf.Map) error {
	spec, err := skeleton.LoadSweeper()
	if err != nil {
		return fmt.Errorf("read the sweeper: %w", err)
	}
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements(spec, shared)})
	if err != nil {
		return fmt.Errorf("load the sweeper: %w", err)
	}
	defer loaded.Close()
	// The kernel wants a whole Ethernet header.
	failed, err := loaded.Programs["sweeper"].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err == nil && failed != 0 {
		err = fmt.Errorf("error %d", failed)
	}
	if err != nil {
		return fmt.Errorf("start the sweeper: %w", err)
	}
	return loaded.Maps["sweep"].Pin(filepath.Join(dir, sweepPin))
}

const sweepPin = "sweep"

// helperMaps hold what helpers know of a port. Every key begins with the
// port's number.
var helperMaps = []string{"expectations", "streams", "related"}

// forgetHelpers deletes what helpers know of a port, which nothing else would
// ever do.
func forgetHelpers(state string, number uint32) error {
	maps, err := openMaps(state, helperMaps)
	if err != nil {
		return err
	}
	defer closeMaps(maps)
	for _, m := range maps {
		if err := deleteOf(m, number); err != nil {
			return err
		}
	}
	return nil
}

// fragmentSets is FRAGMENT_SETS in fragment.h.
const fragmentSets = 64

// forgetFragments deletes what is remembered of a port's first fragments.
func forgetFragments(state string, number uint32) error {
	maps, err := openMaps(state, []string{"fragments"})
	if err != nil {
		return err
	}
	defer closeMaps(maps)
	for set := range uint32(fragmentSets) {
		if err := maps["fragments"].Delete([2]uint32{number, set}); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

func deleteOf(m *ebpf.Map, number uint32) error {
	var keys [][]byte
	var key, value []byte
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		if binary.NativeEndian.Uint32(key) == number {
			keys = append(keys, key)
		}
		key = nil
	}
	// Other ports go on changing the map; what is missed then stays until the
	// last port is released.
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	for _, key := range keys {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
