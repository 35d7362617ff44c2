package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tapgate/internal/datapath/skeleton"
)

// maxWatchers is how many may watch at once (WATCHERS in report.h).
const maxWatchers = 8

const (
	// armedFor is how long programs tell a watcher of packets that says nothing.
	armedFor = 10 * time.Second
	// armEvery is how often a watcher says that it is there.
	armEvery = time.Second
)

// fate mirrors enum fate.
type fate int

const (
	fateDropped fate = iota
	fatePassed
	fates
)

// watcherEntry mirrors struct watcher.
type watcherEntry struct {
	Until           uint64
	Interval, Depth uint64
	Fates           uint32
	EveryPort       uint32
}

// watches mirrors struct watches.
type watches struct {
	Until    [fates]uint64
	Watchers [maxWatchers]watcherEntry
}

// watchMaps are how watchers and programs find each other.
var watchMaps = []string{"watches", "watch_tables", "watch_rings"}

// watcher is one process's place among those that programs tell of packets.
// Nothing but its ring says which place that is: another may have taken it
// while this process was stopped, and the maps are new when the last port was
// released and another is guarded.
type watcher struct {
	host *Host
	// state is the name of the directory of shared maps that programs of this
	// version use.
	state string
	entry watcherEntry
	// ring holds reports, table what programs keep for each port.
	ring, table *ebpf.Map
	ringID      ebpf.MapID
}

// ringBytes is the room for reports that are not read yet.
const ringBytes = 4 << 20

func newWatcher(h *Host, options *WatchOptions) (*watcher, error) {
	spec, err := skeleton.Load()
	if err != nil {
		return nil, fmt.Errorf("read the skeleton: %w", err)
	}
	w := &watcher{host: h, state: stateName(spec), entry: options.entry()}
	ring := spec.Maps["watch_rings"].InnerMap
	ring.MaxEntries = ringBytes
	if w.ring, err = ebpf.NewMap(ring); err != nil {
		return nil, fmt.Errorf("make a ring for reports: %w", needsRoot(err))
	}
	if w.table, err = ebpf.NewMap(spec.Maps["watch_tables"].InnerMap); err != nil {
		w.close()
		return nil, fmt.Errorf("make a table of ports: %w", needsRoot(err))
	}
	info, err := w.ring.Info()
	if err != nil {
		w.close()
		return nil, fmt.Errorf("identify the ring: %w", err)
	}
	w.ringID, _ = info.ID()
	return w, nil
}

func (w *watcher) close() {
	w.ring.Close()
	if w.table != nil {
		w.table.Close()
	}
}

// admit lets programs of a port tell the watcher of packets, if only those in
// the table may.
func (w *watcher) admit(number uint32) error {
	err := w.table.Update(number, make([]byte, w.table.ValueSize()), ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("watch port number %d: %w", number, err)
	}
	return nil
}

// arm makes programs tell the watcher of packets for a while from now on. It
// does nothing where no port is guarded.
func (w *watcher) arm(ctx context.Context) error {
	return w.change(ctx, func(all *watches, maps map[string]*ebpf.Map, slot int, now uint64) error {
		if slot < 0 {
			var err error
			if slot, err = takeSlot(all, maps, w, now); err != nil {
				return err
			}
		}
		all.Watchers[slot] = w.entry
		all.Watchers[slot].Until = now + uint64(armedFor)
		return nil
	})
}

// disarm ends that. No program writes to the ring any more when it returns.
func (w *watcher) disarm(ctx context.Context) error {
	err := w.change(ctx, func(all *watches, maps map[string]*ebpf.Map, slot int, now uint64) error {
		if slot >= 0 {
			all.Watchers[slot].Until = now
		}
		return nil
	})
	waitForPrograms()
	return err
}

// change changes the watchers under the host's lock. The slot is -1 if the
// watcher has none; now is that of programs.
func (w *watcher) change(ctx context.Context, fn func(all *watches, maps map[string]*ebpf.Map, slot int, now uint64) error) error {
	l, err := w.host.lock(ctx)
	if err != nil {
		return err
	}
	defer l.unlock()
	maps, err := openMaps(filepath.Join(w.host.dir, w.state), watchMaps)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the maps of watchers: %w", needsRoot(err))
	}
	defer closeMaps(maps)
	var all watches
	if err := maps["watches"].Lookup(uint32(0), &all); err != nil {
		return fmt.Errorf("read the watchers: %w", err)
	}
	now := ktime()
	if err := fn(&all, maps, slotOf(maps["watch_rings"], w.ringID), now); err != nil {
		return err
	}
	if err := all.forget(maps, now); err != nil {
		return err
	}
	all.sum()
	if err := maps["watches"].Put(uint32(0), &all); err != nil {
		return fmt.Errorf("write the watchers: %w", err)
	}
	return nil
}

// sum works out until when somebody watches.
func (all *watches) sum() {
	all.Until = [fates]uint64{}
	for _, entry := range all.Watchers {
		for f := range all.Until {
			if entry.Fates&(1<<f) != 0 {
				all.Until[f] = max(all.Until[f], entry.Until)
			}
		}
	}
}

// slotOf finds the place that holds a ring; -1 if none does.
func slotOf(rings *ebpf.Map, ring ebpf.MapID) int {
	for slot := range uint32(maxWatchers) {
		var id uint32
		if err := rings.Lookup(slot, &id); err == nil && ebpf.MapID(id) == ring {
			return int(slot)
		}
	}
	return -1
}

// takeSlot brings the watcher's maps to a place that nobody holds.
func takeSlot(all *watches, maps map[string]*ebpf.Map, w *watcher, now uint64) (int, error) {
	for slot := range all.Watchers {
		if all.Watchers[slot].Until > now {
			continue
		}
		err := errors.Join(
			maps["watch_rings"].Put(uint32(slot), w.ring),
			maps["watch_tables"].Put(uint32(slot), w.table),
		)
		if err != nil {
			return 0, fmt.Errorf("join the watchers: %w", err)
		}
		return slot, nil
	}
	return 0, fmt.Errorf("%d others are watching, which is as many as there may be at once: end one of them", maxWatchers)
}

// forget frees what belongs to watchers that ended.
func (all *watches) forget(maps map[string]*ebpf.Map, now uint64) error {
	for slot, entry := range all.Watchers {
		if entry.Until == 0 || entry.Until > now {
			continue
		}
		for _, name := range []string{"watch_rings", "watch_tables"} {
			if err := maps[name].Delete(uint32(slot)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("forget a watcher: %w", err)
			}
		}
		all.Watchers[slot] = watcherEntry{}
	}
	return nil
}

// ktime is the clock of programs (bpf_ktime_get_ns), in nanoseconds.
func ktime() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano())
}
