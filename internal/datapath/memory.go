package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// MaxMemory is how many bytes can be remembered of a port.
const MaxMemory = 4096

// memoriesPin is a map of what is remembered, by port number. Programs do not use
// it, so that it is the same for all versions.
const memoriesPin = "memories"

func newMemoriesSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: memoriesPin, Type: ebpf.Hash, KeySize: 4, ValueSize: 4 + MaxMemory, MaxEntries: 16384,
		Flags: unix.BPF_F_NO_PREALLOC,
	}
}

// Remember keeps some bytes with a port, in the place of those before, until the
// port is released or the host is restarted; none make it forget. They stay when
// the process ends and when the port gets another policy or name.
func (h *Host) Remember(port string, memory []byte) error {
	if len(memory) > MaxMemory {
		return fmt.Errorf("remember %d bytes of %s: %d are the most", len(memory), port, MaxMemory)
	}
	number, err := h.numberOf(port)
	if err == nil {
		err = h.remember(number, memory)
	}
	if err != nil {
		return portError("remember what is known of", port, needsRoot(err))
	}
	return nil
}

func (h *Host) remember(number uint32, memory []byte) error {
	if len(memory) == 0 {
		return h.forgetMemory(number)
	}
	m, err := h.openMemories()
	if err != nil {
		return err
	}
	defer m.Close()
	value := binary.NativeEndian.AppendUint32(nil, uint32(len(memory)))
	return m.Put(number, append(append(value, memory...), make([]byte, MaxMemory-len(memory))...))
}

// Recall gives what is remembered of a port, nil if nothing is.
func (h *Host) Recall(port string) ([]byte, error) {
	memory, err := h.recall(port)
	if err != nil {
		return nil, portError("recall what is known of", port, needsRoot(err))
	}
	return memory, nil
}

func (h *Host) recall(port string) ([]byte, error) {
	number, err := h.numberOf(port)
	if err != nil {
		return nil, err
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(h.dir, memoriesPin), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer m.Close()
	value, err := m.LookupBytes(number)
	if err != nil || len(value) < 4 {
		return nil, err
	}
	n := min(int(binary.NativeEndian.Uint32(value)), len(value)-4)
	return value[4 : 4+n], nil
}

// numberOf is the number of a port's newest generation.
func (h *Host) numberOf(port string) (uint32, error) {
	if !isPortName(port) {
		return 0, &NotGuardedError{port}
	}
	generations, err := h.generations.of(h.portDir(port))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(generations) == 0 {
		return 0, &NotGuardedError{port}
	}
	if err != nil {
		return 0, err
	}
	return generations[len(generations)-1].binding.Number, nil
}

func (h *Host) openMemories() (*ebpf.Map, error) {
	path := filepath.Join(h.dir, memoriesPin)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if m, err = ebpf.NewMap(newMemoriesSpec()); err != nil {
		return nil, err
	}
	if err = m.Pin(path); err == nil {
		return m, nil
	}
	m.Close()
	if errors.Is(err, fs.ErrExist) { // somebody was faster
		return ebpf.LoadPinnedMap(path, nil)
	}
	return nil, err
}

func (h *Host) forgetMemory(number uint32) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(h.dir, memoriesPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Delete(number); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// forgetMemories forgets what was remembered at the last moment of ports that are
// gone.
func (h *Host) forgetMemories() error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(h.dir, memoriesPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return needsRoot(err)
	}
	defer m.Close()
	var numbers []uint32
	var number uint32
	var value []byte
	entries := m.Iterate()
	for entries.Next(&number, &value) {
		numbers = append(numbers, number)
	}
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return err
	}
	// A port is there before something is remembered of it.
	names := portNames{host: h}
	if err := names.look(); err != nil {
		return err
	}
	numbers = slices.DeleteFunc(numbers, func(n uint32) bool { _, there := names.names[n]; return there })
	for _, n := range numbers {
		if err := m.Delete(n); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
