package datapath

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
)

func TestSlotsAreTakenOnce(t *testing.T) {
	s := &slots{words: make([]uint64, 64)}
	var mu sync.Mutex
	taken := map[uint32]bool{}
	var group sync.WaitGroup
	for number := range uint32(8) {
		group.Go(func() {
			for generation := range 8 {
				slot, err := s.take(slotOwner(number+1, generation))
				mu.Lock()
				if err != nil || taken[slot] {
					t.Errorf("slot %d (%v) is taken already", slot, err)
				}
				taken[slot] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if _, err := s.take(slotOwner(9, 1)); !errors.Is(err, errNoSlot) {
		t.Errorf("a slot too many: %v", err)
	}
	for number := range uint32(8) {
		of := s.of(number + 1)
		if got := slices.Sorted(maps.Values(of)); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("slots of port number %d: generations %v", number+1, got)
		}
		for slot := range of {
			if !s.used() {
				t.Error("no slot is used")
			}
			s.free(slot)
		}
	}
	if s.used() {
		t.Error("a slot is used still")
	}
}
