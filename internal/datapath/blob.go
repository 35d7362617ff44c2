package datapath

import (
	"encoding/json"
	"fmt"

	"github.com/cilium/ebpf"
)

// pinJSON pins a value as a map of one entry that nobody can change any more.
func pinJSON(path, name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name:       name,
		Type:       ebpf.Array,
		KeySize:    4,
		ValueSize:  uint32(len(text)),
		MaxEntries: 1,
		Contents:   []ebpf.MapKV{{Key: uint32(0), Value: text}},
	})
	if err != nil {
		return fmt.Errorf("make map %s: %w", name, needsRoot(err))
	}
	defer m.Close()
	if err := m.Freeze(); err != nil {
		return fmt.Errorf("freeze map %s: %w", name, err)
	}
	return m.Pin(path)
}

// readJSON reads what pinJSON wrote.
func readJSON(path string, value any) error {
	m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer m.Close()
	text, err := m.LookupBytes(uint32(0))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
