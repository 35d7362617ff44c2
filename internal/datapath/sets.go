package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tapgate/internal/compile"
	"tapgate/internal/ipset"
	"tapgate/internal/policy"
)

// maxSetMembers bounds a set's map. A trie takes memory for what is in it only.
const maxSetMembers = 1 << 24

// setMapSpec is the trie of a set: its keys are a length in bits and the set's
// keys, its values 1 for a member and 0 for an exception.
func setMapSpec(name string, s *ipset.Set) *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name:       name,
		Type:       ebpf.LPMTrie,
		KeySize:    uint32(4 + s.KeySize()),
		ValueSize:  1,
		MaxEntries: maxSetMembers,
		Flags:      unix.BPF_F_NO_PREALLOC,
	}
}

// fillSets puts the members of the policy's sets into their empty maps.
func fillSets(maps map[string]*ebpf.Map, p *policy.Policy, sets ipset.Sets) error {
	for i, name := range p.SetNames() {
		if _, err := updateSet(maps[compile.SetMap(i)], sets[name]); err != nil {
			return fmt.Errorf("fill in the set %q: %w", name, err)
		}
	}
	return nil
}

// setDifference is what an update of a set's map did.
type setDifference struct{ added, removed int }

// updateSet makes a map hold the members of a set, nil for none. What stays is
// not touched; what is new comes in before what is old goes, so that a member
// that became a part of another is in the set all the time.
func updateSet(m *ebpf.Map, s *ipset.Set) (setDifference, error) {
	var d setDifference
	present, err := readSet(m)
	if err != nil {
		return d, err
	}
	if s != nil {
		for e := range s.Entries {
			key := setKey(e)
			value := byte(1)
			if e.NoMatch {
				value = 0
			}
			was, ok := present[key]
			delete(present, key)
			if ok && was == value {
				continue
			}
			if err := m.Put([]byte(key), []byte{value}); err != nil {
				return d, err
			}
			d.added++
		}
	}
	for key := range present {
		if err := m.Delete([]byte(key)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return d, err
		}
		d.removed++
	}
	return d, nil
}

func setKey(e ipset.Entry) string {
	return string(append(binary.NativeEndian.AppendUint32(nil, uint32(e.Bits)), e.Key...))
}

// readSet reads a set's map: the value of each key.
func readSet(m *ebpf.Map) (map[string]byte, error) {
	present := map[string]byte{}
	var key, value []byte
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		present[string(key)] = value[0]
	}
	return present, entries.Err()
}
