package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"tapgate/internal/datapath/skeleton"
)

// Observe gives the frames that may teach the guests' addresses, of ports whose
// policies say so (policy.Policy.Observe), as they come and in their order. Those
// that come while nobody asks stay, as far as there is room, and are given to who
// asks next. One at a time may ask: each frame is given once. Frames of ports that
// are gone are left out. It ends without an error when ctx ends.
func (h *Host) Observe(ctx context.Context) iter.Seq2[Observation, error] {
	return func(yield func(Observation, error) bool) {
		err := h.observe(ctx, func(o Observation) error {
			if !yield(o, nil) {
				return errUnheard
			}
			return nil
		})
		if err != nil && !errors.Is(err, errUnheard) && ctx.Err() == nil {
			yield(Observation{}, fmt.Errorf("observe the ports: %w", err))
		}
	}
}

// observe reads one ring after the other: another one is pinned when the last port
// was released meanwhile by another process.
func (h *Host) observe(ctx context.Context, tell func(Observation) error) error {
	h.observers.Add(1)
	defer func() {
		h.observers.Add(-1)
		_ = h.tidy(context.WithoutCancel(ctx))
	}()
	for ctx.Err() == nil {
		if err := h.observeRing(ctx, tell); err != nil {
			return err
		}
	}
	return nil
}

// lookEvery is how often it is looked whether the ring is still the pinned one.
const lookEvery = time.Second

func (h *Host) observeRing(ctx context.Context, tell func(Observation) error) error {
	spec, err := skeleton.Load()
	if err != nil {
		return fmt.Errorf("read the skeleton: %w", err)
	}
	l, err := h.lock(ctx)
	if err != nil {
		return err
	}
	ring, err := h.openObservations(spec.Maps[observationsPin])
	path := filepath.Join(h.dir, observationsPin)
	pin, _ := os.Stat(path) // nil if it is gone
	l.unlock()
	if err != nil {
		return err
	}
	defer ring.Close()
	reader, err := ringbuf.NewReader(ring)
	if err != nil {
		return fmt.Errorf("read the ring: %w", err)
	}
	defer reader.Close()
	defer context.AfterFunc(ctx, func() { reader.Close() })()
	o := &observing{reader, &portNames{host: h}, tell}
	for {
		switch err := o.until(time.Now().Add(lookEvery)); {
		case errors.Is(err, ringbuf.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		if now, err := os.Stat(path); pin == nil || err != nil || !os.SameFile(pin, now) {
			// Nobody writes to this one any more: those who did are gone.
			return nil
		}
	}
}

type observing struct {
	reader *ringbuf.Reader
	names  *portNames
	tell   func(Observation) error
}

// until tells what is in the ring and what comes until a moment.
func (o *observing) until(moment time.Time) error {
	o.reader.SetDeadline(moment)
	var record ringbuf.Record
	for {
		err := o.reader.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		one, err := decodeObservation(record.RawSample)
		if err != nil {
			return err
		}
		if one != nil {
			if one.Port, err = o.names.find(one.Number); err != nil {
				return err
			}
		}
		if one == nil || one.Port == "" {
			continue
		}
		one.Time = time.Now().Add(time.Duration(one.Time.UnixNano() - int64(ktime())))
		if err := o.tell(*one); err != nil {
			return err
		}
		if time.Now().After(moment) {
			return nil
		}
	}
}

// portNames finds ports by their numbers, in what is pinned: a name counts only
// as long as the port has it.
type portNames struct {
	host *Host
	// names are those of the last look, unknown the numbers that it did not find.
	names   map[uint32]string
	looked  time.Time
	unknown map[uint32]bool
}

// find gives a port's name, "" if there is none with the number any more.
func (n *portNames) find(number uint32) (string, error) {
	if name, ok := n.names[number]; ok && n.has(name, number) {
		return name, nil
	}
	// A port has its number before a frame of it can come: what was not found then
	// is gone, but for a port that was just being renamed.
	if n.unknown[number] && time.Since(n.looked) < lookEvery {
		return "", nil
	}
	if err := n.look(); err != nil {
		return "", err
	}
	name, ok := n.names[number]
	if !ok {
		n.unknown[number] = true
	}
	return name, nil
}

func (n *portNames) has(name string, number uint32) bool {
	generations, err := n.host.generations.of(n.host.portDir(name))
	if err != nil {
		return false
	}
	for _, g := range generations {
		if g.binding.Number == number {
			return true
		}
	}
	return false
}

// look reads all ports' numbers.
func (n *portNames) look() error {
	n.names, n.unknown, n.looked = map[uint32]string{}, map[uint32]bool{}, time.Now()
	names, err := n.host.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		generations, err := n.host.generations.of(n.host.portDir(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // released or renamed meanwhile
		}
		if err != nil {
			return fmt.Errorf("look at %s: %w", name, needsRoot(err))
		}
		for _, g := range generations {
			n.names[g.binding.Number] = name
		}
	}
	return nil
}
