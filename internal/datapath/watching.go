package datapath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// watching is one call of Watch.
type watching struct {
	*watcher
	options   *WatchOptions
	catalogue *catalogue
	reader    *ringbuf.Reader
	tell      func(Notice) error
	// armed are the ports whose programs are told to tell, told those that the
	// listener knows of.
	armed atomic.Pointer[Watched]
	told  *Watched
	// counted is what the table held when it was last told.
	counted map[uint32]watchedPort
	// boot is the wall clock's time at which the programs' clock began.
	boot time.Time
}

// watchedPort mirrors struct watched.
type watchedPort struct{ Full, Limited, Lost [fates]uint64 }

func (h *Host) watch(ctx context.Context, options *WatchOptions, tell func(Notice) error) (err error) {
	w := &watching{options: options, tell: tell, catalogue: newCatalogue(h), counted: map[uint32]watchedPort{}}
	if w.watcher, err = newWatcher(h, options); err != nil {
		return err
	}
	defer w.close()
	if w.reader, err = ringbuf.NewReader(w.ring); err != nil {
		return fmt.Errorf("read the ring of reports: %w", err)
	}
	defer w.reader.Close()
	if err := w.allGuarded(); err != nil {
		return err
	}
	return w.run(ctx)
}

func (w *watching) allGuarded() error {
	if err := w.catalogue.refresh(); err != nil {
		return err
	}
	known := w.catalogue.ports()
	for _, name := range w.options.Ports {
		if !slices.ContainsFunc(known, func(b *Binding) bool { return b.Port == name }) {
			return &NotGuardedError{name}
		}
	}
	return nil
}

// run keeps the watcher armed while it tells what happens.
func (w *watching) run(ctx context.Context) error {
	if err := w.refresh(ctx); err != nil {
		return err
	}
	kept := make(chan error, 1)
	working, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		kept <- w.keep(working)
		stop()
	}()
	defer context.AfterFunc(working, func() { _ = w.reader.Flush() })()
	err := w.tellUntil(working)
	stop()
	if err := errors.Join(err, <-kept, w.disarm(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	for empty := false; !empty; {
		if empty, err = w.tellReports(time.Now()); err != nil {
			return err
		}
	}
	return w.tellHidden()
}

// keep refreshes until ctx ends, however long a notice is listened to.
func (w *watching) keep(ctx context.Context) error {
	ticker := time.NewTicker(armEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := w.refresh(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// refresh arms the watcher and finds new ports and generations.
func (w *watching) refresh(ctx context.Context) error {
	if err := w.catalogue.refresh(); err != nil {
		return fmt.Errorf("look at the ports: %w", err)
	}
	if len(w.options.Ports) == 0 {
		if err := w.admit(0); err != nil {
			return err
		}
	}
	ports := &Watched{}
	for _, b := range w.catalogue.ports() {
		if len(w.options.Ports) > 0 {
			if !slices.Contains(w.options.Ports, b.Port) {
				continue
			}
			if err := w.admit(b.Number); err != nil {
				return err
			}
		}
		ports.Ports = append(ports.Ports, b.Port)
		if b.State != w.state {
			ports.Strange = append(ports.Strange, b.Port)
		}
	}
	if err := w.arm(ctx); err != nil {
		return err
	}
	w.armed.Store(ports)
	return nil
}

// tellUntil tells what happens until ctx ends.
func (w *watching) tellUntil(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.tellWatched(); err != nil {
			return err
		}
		if _, err := w.tellReports(time.Now().Add(armEvery)); err != nil {
			return err
		}
		if err := w.tellHidden(); err != nil {
			return err
		}
	}
	return nil
}

// tellReports tells what is in the ring and what comes until a moment; empty if
// nothing is left then.
func (w *watching) tellReports(until time.Time) (empty bool, err error) {
	w.boot = time.Now().Add(-time.Duration(ktime()))
	w.reader.SetDeadline(until)
	for {
		record, err := w.reader.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("read the ring of reports: %w", err)
		}
		if err := w.tellReport(record.RawSample); err != nil {
			return false, err
		}
		if time.Now().After(until) {
			return false, nil
		}
	}
}

func (w *watching) tellReport(raw []byte) error {
	h, frame, err := decodeReport(raw)
	if err != nil {
		return err
	}
	binding, err := w.catalogue.find(generationID{h.Port, h.Generation})
	if err != nil {
		return err
	}
	return w.tell(Notice{Report: h.report(frame, binding, w.boot.Add(time.Duration(h.Time)))})
}

// tellHidden tells what the programs counted since it was last told, and drops
// ports that are gone from the table.
func (w *watching) tellHidden() error {
	if err := w.catalogue.refresh(); err != nil {
		return err
	}
	names := w.catalogue.names()
	var number uint32
	var now watchedPort
	var gone []uint32
	all := w.table.Iterate()
	for all.Next(&number, &now) {
		name, known := names[number]
		if !known && number != 0 {
			gone = append(gone, number)
		}
		before := w.counted[number]
		w.counted[number] = now
		for f := range fates {
			hidden := &Hidden{name, f == fatePassed, now.Limited[f] - before.Limited[f], now.Lost[f] - before.Lost[f]}
			if hidden.Limited+hidden.Lost == 0 {
				continue
			}
			if err := w.tell(Notice{Hidden: hidden}); err != nil {
				return err
			}
		}
	}
	// Ports come meanwhile; what is missed then is told the next time.
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("count what was not told: %w", err)
	}
	for _, number := range gone {
		delete(w.counted, number)
		if err := w.table.Delete(number); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget port number %d: %w", number, err)
		}
	}
	return nil
}

// tellWatched tells which ports are watched when these are others than before.
func (w *watching) tellWatched() error {
	now := w.armed.Load()
	if now.equal(w.told) {
		return nil
	}
	w.told = now
	return w.tell(Notice{Watched: now})
}
