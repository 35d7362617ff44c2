package datapath

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// testbed is a skeleton for test runs, with tables of its own that are smaller
// than a host's. One tester uses it at a time, since clock and scratch memory are
// the testbed's; the next one finds it with another port number, under which
// nothing is known.
type testbed struct {
	maps     map[string]*ebpf.Map
	shards   map[string]*ebpf.Map
	variants map[uint32]bool
	// observations reads what the skeleton copies, if it was ever loaded to.
	observations *ringbuf.Reader
	// port is the newest number that was used.
	port uint32
	// opened counts connections, which stay in the tables: nothing sweeps these.
	opened uint64
}

// wornOut is how many connections a testbed may have opened to serve again.
const wornOut = 1 << 13

var testbeds struct {
	mu   sync.Mutex
	idle []*testbed
}

// takeTestbed gives an idle testbed, one with the skeleton for features if there
// is one, or else a new one.
func takeTestbed(f features) (*testbed, error) {
	testbeds.mu.Lock()
	defer testbeds.mu.Unlock()
	last := len(testbeds.idle) - 1
	if last < 0 {
		return newTestbed()
	}
	best := last
	for i, b := range testbeds.idle {
		if b.variants[f.variant()] {
			best = i
		}
	}
	b := testbeds.idle[best]
	testbeds.idle[best] = testbeds.idle[last]
	testbeds.idle = testbeds.idle[:last]
	return b, nil
}

// giveBack lets the testbed serve the next tester.
func (b *testbed) giveBack() {
	if err := b.closePort(); err != nil || b.opened > wornOut {
		b.close()
		return
	}
	testbeds.mu.Lock()
	defer testbeds.mu.Unlock()
	testbeds.idle = append(testbeds.idle, b)
}

func newTestbed() (*testbed, error) {
	spec, err := readSkeleton()
	if err != nil {
		return nil, err
	}
	spec.Programs, spec.Variables = nil, nil
	delete(spec.Maps, ".rodata")
	if err := prepareTables(spec, smallTables); err != nil {
		return nil, err
	}
	loaded, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("make the maps for test runs: %w", needsRoot(err))
	}
	b := &testbed{maps: loaded.Maps, variants: map[uint32]bool{}}
	if b.shards, err = fillTables(b.maps, spec.Maps); err == nil {
		err = b.maps[automataMap].Freeze()
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *testbed) close() {
	if b.observations != nil {
		b.observations.Close()
	}
	closeMaps(b.maps)
	closeMaps(b.shards)
}

// need loads the skeleton for features unless it is there.
func (b *testbed) need(f features) error {
	if b.variants[f.variant()] {
		return nil
	}
	spec, err := readSkeleton()
	if err != nil {
		return err
	}
	if f.Observe && b.observations == nil {
		if b.observations, err = ringbuf.NewReader(b.maps[observationsPin]); err != nil {
			return fmt.Errorf("read what is observed: %w", err)
		}
	}
	f.Testing = true
	b.variants[f.variant()] = true
	return loadVariant(spec, f, b.maps)
}

// nextPort closes the number that was used and opens another.
func (b *testbed) nextPort() (uint32, error) {
	if err := b.closePort(); err != nil {
		return 0, err
	}
	b.port++
	_, err := openPort(b.maps[portsMap], b.port)
	return b.port, errors.Join(err, openObserved(b.maps[observedMap], b.port))
}

func (b *testbed) closePort() error {
	ports := b.maps[portsMap]
	entry, err := lookUpPort(ports, b.port)
	if err != nil || entry == nil {
		return err
	}
	b.opened += entry.Opened
	if err := ports.Delete(b.port); err != nil {
		return fmt.Errorf("close port number %d: %w", b.port, err)
	}
	if _, err := b.observed(); err != nil {
		return err
	}
	return closeObserved(b.maps[observedMap], b.port)
}

// observed takes what was copied out of the ring.
func (b *testbed) observed() (list []Observation, err error) {
	if b.observations == nil {
		return nil, nil
	}
	b.observations.SetDeadline(time.Now())
	for {
		record, err := b.observations.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what is observed: %w", err)
		}
		o, err := decodeObservation(record.RawSample)
		if err != nil {
			return nil, err
		}
		list = append(list, *o)
	}
}
