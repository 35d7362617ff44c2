package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// Counter counts packets and their bytes, as long as the frame is on the
// device.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

func (c Counter) plus(o Counter) Counter { return Counter{c.Packets + o.Packets, c.Bytes + o.Bytes} }

// Totals are what became of the packets of one direction.
type Totals struct {
	Passed  Counter `json:"passed"`
	Dropped Counter `json:"dropped"`
	// Reasons of the dropped packets, by verdict.Reason.
	Reasons [verdict.NumReasons]uint64 `json:"reasons"`
	// Invalid counts packets that were INVALID, passed or dropped, by cause.
	Invalid [packet.NumInvalid]uint64 `json:"invalid"`
}

func (t Totals) plus(o Totals) Totals {
	t.Passed, t.Dropped = t.Passed.plus(o.Passed), t.Dropped.plus(o.Dropped)
	for i := range t.Reasons {
		t.Reasons[i] += o.Reasons[i]
	}
	for i := range t.Invalid {
		t.Invalid[i] += o.Invalid[i]
	}
	return t
}

// counts are the counters of a port under one binding.
type counts struct {
	Totals  [2]Totals `json:"totals"`
	Clauses []Counter `json:"clauses"`
}

// plus adds counts of the same binding.
func (c counts) plus(o counts) counts {
	sum := counts{Clauses: make([]Counter, max(len(c.Clauses), len(o.Clauses)))}
	for d := range sum.Totals {
		sum.Totals[d] = c.Totals[d].plus(o.Totals[d])
	}
	copy(sum.Clauses, c.Clauses)
	for i, clause := range o.Clauses {
		sum.Clauses[i] = sum.Clauses[i].plus(clause)
	}
	return sum
}

// under gives the counts as they stand under another binding: clauses that
// both have keep theirs.
func (c counts) under(from, to *Binding) counts {
	known := map[clauseKey]Counter{}
	for i, key := range from.keys() {
		if i < len(c.Clauses) {
			known[key] = c.Clauses[i]
		}
	}
	moved := counts{Totals: c.Totals, Clauses: make([]Counter, len(to.Clauses))}
	for i, key := range to.keys() {
		moved.Clauses[i] = known[key]
	}
	return moved
}

// countsOf gives the counts of the last of successive generations. A
// generation that has not taken over those before it yet gets them added.
func countsOf(generations []*generation) (counts, error) {
	var sum counts
	for i, g := range generations {
		own, err := g.counts()
		if err != nil {
			return counts{}, err
		}
		carried, err := g.carried()
		switch {
		case err == nil:
			sum = own.plus(carried)
		case !errors.Is(err, fs.ErrNotExist):
			return counts{}, err
		case i > 0 && generations[i-1].binding.Number == g.binding.Number:
			sum = own.plus(sum.under(&generations[i-1].binding, &g.binding))
		default:
			sum = own
		}
	}
	return sum, nil
}

// carry makes the last generation take over the counts of those before it.
func carry(generations []*generation) error {
	last := generations[len(generations)-1]
	if _, err := last.carried(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before := counts{}
	if len(generations) > 1 {
		previous := generations[len(generations)-2]
		if previous.binding.Number == last.binding.Number {
			sum, err := countsOf(generations[:len(generations)-1])
			if err != nil {
				return err
			}
			before = sum.under(&previous.binding, &last.binding)
		}
	}
	return pinJSON(filepath.Join(last.dir, carriedPin), carriedPin, before)
}

func (g *generation) carried() (counts, error) {
	var c counts
	err := readJSON(filepath.Join(g.dir, carriedPin), &c)
	return c, err
}

// counts reads the maps in which the generation's programs count.
func (g *generation) counts() (counts, error) {
	c := counts{Clauses: make([]Counter, len(g.binding.Clauses))}
	clauses, err := g.openMap(clausesMap)
	if err != nil {
		return c, fmt.Errorf("read the counters: %w", err)
	}
	defer clauses.Close()
	for i := range c.Clauses {
		words, err := sumOverCPUs(clauses, uint32(i))
		if err != nil {
			return c, fmt.Errorf("read the counter of clause %d: %w", i, err)
		}
		c.Clauses[i] = counterOf(words)
	}
	totals, err := g.openMap(totalsMap)
	if err != nil {
		return c, fmt.Errorf("read the counters: %w", err)
	}
	defer totals.Close()
	for _, d := range policy.Directions {
		words, err := sumOverCPUs(totals, uint32(d))
		if err != nil {
			return c, fmt.Errorf("read the totals of direction %s: %w", d, err)
		}
		c.Totals[d] = totalsOf(words)
	}
	return c, nil
}

// countedReasons is how many reasons struct totals has room for in port.c.
const countedReasons = 16

// totalsOf reads struct totals. Programs of another version may know fewer or
// more reasons, and causes of INVALID.
func totalsOf(words []uint64) Totals {
	t := Totals{Passed: counterOf(words), Dropped: counterOf(words[2:])}
	words = words[4:]
	copy(t.Reasons[:], words)
	if len(words) > countedReasons {
		copy(t.Invalid[:], words[countedReasons:])
	}
	return t
}

func counterOf(words []uint64) Counter { return Counter{words[0], words[1]} }

// sumOverCPUs adds up the values of a per-CPU map that consist of 64-bit
// counters.
func sumOverCPUs(m *ebpf.Map, key uint32) ([]uint64, error) {
	raw, err := m.LookupBytes(key)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, ebpf.ErrKeyNotExist
	}
	sum := make([]uint64, m.ValueSize()/8)
	for i := 0; i+8 <= len(raw); i += 8 {
		sum[i/8%len(sum)] += binary.NativeEndian.Uint64(raw[i:])
	}
	return sum, nil
}
