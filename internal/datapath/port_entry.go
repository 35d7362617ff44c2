package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// portEntry mirrors struct port.
type portEntry struct {
	Connections uint32
	_           uint32 // stream_turn
	Opened      uint64
	Refused     uint64
	_           uint32 // counted
	Queued      uint32
	_           [2]uint32 // tickets, passed
	GivenUp     uint64
	Expired     uint64
	// Mark is that of all the port's generations.
	Mark    uint64
	Answers [2]struct {
		_ uint64 // next
		Answers
	}
}

func newPortEntry() (*portEntry, error) {
	mark, err := newMark()
	return &portEntry{Mark: mark}, err
}

// lookUpPort gives the entry of a port number; nil if there is none.
func lookUpPort(ports *ebpf.Map, number uint32) (*portEntry, error) {
	raw, err := ports.LookupBytes(number)
	if err != nil {
		return nil, fmt.Errorf("look up port number %d: %w", number, err)
	}
	if raw == nil {
		return nil, nil
	}
	return decodeEntry(raw)
}

// decodeEntry reads an entry; one of another version may be shorter.
func decodeEntry(raw []byte) (*portEntry, error) {
	entry := &portEntry{}
	whole := make([]byte, binary.Size(entry))
	copy(whole, raw)
	if _, err := binary.Decode(whole, binary.NativeEndian, entry); err != nil {
		return nil, fmt.Errorf("count the connections: %w", err)
	}
	return entry, nil
}

// openPort makes the entry without which a port's connections are not kept,
// unless it is there.
func openPort(ports *ebpf.Map, number uint32) (*portEntry, error) {
	entry, err := lookUpPort(ports, number)
	if err != nil || entry != nil {
		return entry, err
	}
	if entry, err = newPortEntry(); err != nil {
		return nil, err
	}
	if err := ports.Put(number, entry); err != nil {
		return nil, fmt.Errorf("enter port number %d: %w", number, err)
	}
	return entry, nil
}

// openPorts opens the entries of all ports of the binding's layout; nil if there
// are none.
func (h *Host) openPorts(b *Binding) (*ebpf.Map, error) {
	ports, err := ebpf.LoadPinnedMap(filepath.Join(h.dir, b.State, "ports"), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("count the connections: %w", err)
	}
	return ports, nil
}

// readEntry gives the entry of a binding's port, an empty one if it is gone.
func (h *Host) readEntry(b *Binding) (*portEntry, error) {
	ports, err := h.openPorts(b)
	if ports == nil {
		return &portEntry{}, err
	}
	defer ports.Close()
	entry, err := lookUpPort(ports, b.Number)
	if entry == nil {
		entry = &portEntry{}
	}
	return entry, err
}

// TableUse is how many connections the host's table holds, of all ports, and
// how many it has room for.
type TableUse struct {
	Used uint64 `json:"used"`
	Size uint64 `json:"size"`
}

func (h *Host) tableUse(b *Binding) (use TableUse, err error) {
	ports, err := h.openPorts(b)
	if ports == nil {
		return use, err
	}
	defer ports.Close()
	use.Size = uint64(tables["connections"]) * uint64(hostTables.shard)
	var number uint32
	var raw []byte
	entries := ports.Iterate()
	for entries.Next(&number, &raw) {
		entry, err := decodeEntry(raw)
		if err != nil {
			return use, err
		}
		use.Used += uint64(entry.Connections)
	}
	// Ports come and go meanwhile: the sum is one of about now.
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return use, fmt.Errorf("count the connections: %w", err)
	}
	return use, nil
}
