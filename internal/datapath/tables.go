package datapath

import (
	"crypto/rand"
	"fmt"

	"github.com/cilium/ebpf"
)

// tableSize is how much the host-wide tables have room for: each shard, little
// enough to be swept in one go, and the queue of connections that may be given
// up. An empty table takes 16 bytes for each entry.
type tableSize struct{ shard, queue uint32 }

var (
	hostTables  = tableSize{16384, 1 << 20}
	smallTables = tableSize{1024, 1 << 17}
)

// tables are the maps in shards, with the number of these.
var tables = map[string]uint32{"connections": 128, "counted": 16}

// prepareTables sets the size of the tables. Their shards are filled in after
// loading, by fillTables.
func prepareTables(spec *ebpf.CollectionSpec, size tableSize) error {
	for name, shards := range tables {
		spec.Maps[name].MaxEntries = shards
		spec.Maps[name].InnerMap.MaxEntries = size.shard
	}
	spec.Maps["queue"].MaxEntries = size.queue
	secret := spec.Maps["secret"]
	words := make([]byte, secret.ValueSize)
	if _, err := rand.Read(words); err != nil {
		return err
	}
	secret.Contents = []ebpf.MapKV{{Key: uint32(0), Value: words}}
	return nil
}

// fillTables puts the inner maps into all tables, and gives them by name.
func fillTables(maps map[string]*ebpf.Map, specs map[string]*ebpf.MapSpec) (map[string]*ebpf.Map, error) {
	shards := map[string]*ebpf.Map{}
	for name := range tables {
		if err := fillShards(maps[name], specs[name], shards); err != nil {
			return shards, err
		}
	}
	return shards, nil
}

// shardName is the name of the inner map of a table.
func shardName(table string, i uint32) string { return fmt.Sprintf("%s_%d", table, i) }

// fillShards puts the inner maps into a table: in one call, because after each
// the kernel waits for all running programs.
func fillShards(table *ebpf.Map, spec *ebpf.MapSpec, shards map[string]*ebpf.Map) error {
	var keys, fds []uint32
	for i := range table.MaxEntries() {
		shard, err := ebpf.NewMap(spec.InnerMap)
		if err != nil {
			return fmt.Errorf("make shard %d of the table %s: %w", i, spec.Name, err)
		}
		shards[shardName(spec.Name, i)] = shard
		keys, fds = append(keys, i), append(fds, uint32(shard.FD()))
	}
	if _, err := table.BatchUpdate(keys, fds, nil); err != nil {
		return fmt.Errorf("fill the table %s: %w", spec.Name, err)
	}
	return nil
}
