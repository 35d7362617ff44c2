package datapath

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

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

func fillTables(maps map[string]*ebpf.Map, specs map[string]*ebpf.MapSpec) error {
	for name := range tables {
		if err := fillShards(maps[name], specs[name]); err != nil {
			return err
		}
	}
	return nil
}

// fillShards puts the inner maps into a table: in one call, because after each
// the kernel waits for all running programs.
func fillShards(table *ebpf.Map, spec *ebpf.MapSpec) error {
	var keys, fds []uint32
	var shards []*ebpf.Map
	defer func() {
		for _, shard := range shards {
			shard.Close()
		}
	}()
	for i := range table.MaxEntries() {
		shard, err := ebpf.NewMap(spec.InnerMap)
		if err != nil {
			return fmt.Errorf("make shard %d of the table %s: %w", i, spec.Name, err)
		}
		keys, fds, shards = append(keys, i), append(fds, uint32(shard.FD())), append(shards, shard)
	}
	if _, err := table.BatchUpdate(keys, fds, nil); err != nil {
		return fmt.Errorf("fill the table %s: %w", spec.Name, err)
	}
	return nil
}

// openPort makes the entry without which a port's connections are not kept.
func openPort(ports *ebpf.Map, number uint32) error {
	if err := ports.Put(number, make([]byte, ports.ValueSize())); err != nil {
		return fmt.Errorf("enter port number %d: %w", number, err)
	}
	return nil
}

// loadError makes one sentence of what the verifier says; errors.As still
// finds the *ebpf.VerifierError with the whole log.
func loadError(err error) error {
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return fmt.Errorf("load the port's programs: %w", err)
	}
	last := ""
	for _, line := range verifier.Log {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "processed ") {
			last = line
		}
	}
	if strings.Contains(last, "program is too large") {
		last = "the filter is too large for it; use fewer rules, or address ranges and masks in place of single addresses"
	}
	return &refusedError{last, verifier}
}

type refusedError struct {
	last string
	err  *ebpf.VerifierError
}

func (e *refusedError) Error() string { return "the kernel's verifier refused the program: " + e.last }
func (e *refusedError) Unwrap() error { return e.err }
