package datapath

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// slots says which generation has which slot of a skeleton: a pinned map as
// memory that all processes share. A slot that nobody has is 0. Only who holds
// the lock of a port takes and frees slots of its number, so that what an
// interrupted change has left behind is known by the number.
type slots struct {
	words []uint64
	// next is where the search for a free one begins.
	next atomic.Uint32
}

// slotOwner names a generation: no number is ever given to another port.
func slotOwner(number uint32, generation int) uint64 {
	return uint64(number)<<32 | uint64(uint32(generation))
}

func newSlotsSpec(n uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: "slots", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: n, Flags: unix.BPF_F_MMAPABLE}
}

func mapSlots(m *ebpf.Map) (*slots, error) {
	n := int(m.MaxEntries())
	memory, err := unix.Mmap(m.FD(), 0, 8*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("look at the slots: %w", err)
	}
	return &slots{words: unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), n)}, nil
}

func (s *slots) close() {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&s.words[0])), 8*len(s.words)))
	s.words = nil
}

var errNoSlot = errors.New("there are too many ports: no slot is left for another generation")

// take gives a free slot to a generation.
func (s *slots) take(owner uint64) (uint32, error) {
	n := uint32(len(s.words))
	for range n {
		slot := s.next.Add(1) % n
		if atomic.CompareAndSwapUint64(&s.words[slot], 0, owner) {
			return slot, nil
		}
	}
	return 0, errNoSlot
}

// of gives the slots of a port number, with the generation of each.
func (s *slots) of(number uint32) map[uint32]int {
	found := map[uint32]int{}
	for slot := range s.words {
		if owner := atomic.LoadUint64(&s.words[slot]); uint32(owner>>32) == number {
			found[uint32(slot)] = int(uint32(owner))
		}
	}
	return found
}

func (s *slots) free(slot uint32) { atomic.StoreUint64(&s.words[slot], 0) }

// used tells whether any generation has a slot.
func (s *slots) used() bool {
	for slot := range s.words {
		if atomic.LoadUint64(&s.words[slot]) != 0 {
			return true
		}
	}
	return false
}
