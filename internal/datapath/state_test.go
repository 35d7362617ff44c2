package datapath

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"tapgate/internal/datapath/skeleton"
)

func TestEveryMapHasItsPlace(t *testing.T) {
	spec, err := skeleton.Load()
	if err != nil {
		t.Fatal(err)
	}
	// The ring is that of all versions.
	places := slices.Concat(sharedMaps, skeletonMaps, []string{observationsPin})
	for name := range spec.Maps {
		if !slices.Contains(places, name) && !strings.HasPrefix(name, ".rodata") {
			t.Errorf("map %s: is it shared by all versions, by all ports, or by all generations of a skeleton?", name)
		}
	}
	for _, name := range places {
		if spec.Maps[name] == nil {
			t.Errorf("the skeleton has no map %s", name)
		}
	}
	for _, name := range helperMaps {
		key, ok := btf.UnderlyingType(spec.Maps[name].Key).(*btf.Struct)
		for ok && key.Members[0].Name != "port" {
			key, ok = btf.UnderlyingType(key.Members[0].Type).(*btf.Struct)
		}
		if !ok {
			t.Errorf("the key of map %s does not begin with the port's number", name)
		}
	}
}

func TestLayoutsTellMapsApart(t *testing.T) {
	load := func() *ebpf.CollectionSpec {
		spec, err := skeleton.Load()
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	want := sharedLayout(load())
	if got := sharedLayout(load()); got != want {
		t.Errorf("the same maps have the layouts %s and %s", want, got)
	}
	for name, change := range map[string]func(*ebpf.CollectionSpec){
		"another size":      func(s *ebpf.CollectionSpec) { s.Maps["ports"].MaxEntries++ },
		"another member":    func(s *ebpf.CollectionSpec) { s.Maps["ports"].Value.(*btf.Struct).Members[0].Name = "other" },
		"another inner map": func(s *ebpf.CollectionSpec) { s.Maps["connections"].InnerMap.ValueSize += 8 },
	} {
		spec := load()
		change(spec)
		if sharedLayout(spec) == want {
			t.Errorf("%s makes no difference", name)
		}
	}
}

func TestOnlyThePortsOwnEntriesAreDeleted(t *testing.T) {
	needRoot(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 12, ValueSize: 4, MaxEntries: 256})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	key := func(number, n uint32) []byte {
		k := make([]byte, 12)
		binary.NativeEndian.PutUint32(k, number)
		binary.NativeEndian.PutUint32(k[8:], n)
		return k
	}
	for n := range uint32(50) {
		for number := range uint32(3) {
			if err := m.Put(key(number, n), uint32(0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := deleteOf(m, 1); err != nil {
		t.Fatal(err)
	}
	var k, v []byte
	left := map[uint32]int{}
	for all := m.Iterate(); all.Next(&k, &v); {
		left[binary.NativeEndian.Uint32(k)]++
	}
	if left[0] != 50 || left[1] != 0 || left[2] != 50 {
		t.Errorf("left by number: %v", left)
	}
}

func TestNamesOnTheBPFFS(t *testing.T) {
	for _, name := range []string{"vnet0", "eth0.100", "a%2eb", "%", "x%y.z"} {
		escaped := escapeName(name)
		if unescapeName(escaped) != name || slices.Contains([]byte(escaped), '.') {
			t.Errorf("%s becomes %s and then %s", name, escaped, unescapeName(escaped))
		}
	}
}
