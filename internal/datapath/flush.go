package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"tapgate/internal/datapath/skeleton"
)

// maxFlushes bounds how often connections are ended that packets on their way
// prolong.
const maxFlushes = 10

// Flush ends those of a port's connections that match accepts, all if it is nil,
// and with them what their helpers follow and expect. Their next packets are
// judged as if the connections had never been. It tells how many have ended.
func (h *Host) Flush(ctx context.Context, port string, match func(*Connection) bool) (int, error) {
	t, err := h.openTable(ctx, port)
	if err != nil {
		return 0, err
	}
	defer t.close()
	ended, err := t.flush(ctx, monotonic(), match)
	if err != nil {
		return ended, portError("flush", port, needsRoot(err))
	}
	return ended, nil
}

func (t *connectionTable) flush(ctx context.Context, now int64, match func(*Connection) bool) (ended int, err error) {
	f, err := newFlusher(t)
	if err != nil {
		return 0, err
	}
	defer f.loaded.Close()
	batch := make([]flushed, 0, f.list.MaxEntries())
	send := func() error {
		n, err := f.end(ctx, batch)
		ended += n
		batch = batch[:0]
		return err
	}
	for entry, err := range t.entries(now) {
		if err != nil {
			return ended, err
		}
		c, err := t.describe(entry, now)
		if err != nil {
			return ended, err
		}
		if match != nil && !match(c) {
			continue
		}
		batch = append(batch, flushed{slices.Clone(entry.key), uint64(c.Created)})
		if len(batch) == cap(batch) {
			if err := send(); err != nil {
				return ended, err
			}
		}
	}
	return ended, send()
}

// flushed names a connection to end: its key, and when it was opened.
type flushed struct {
	key     []byte
	created uint64
}

// flusher is the program that ends connections under their locks.
type flusher struct {
	loaded *ebpf.Collection
	list   *ebpf.Map
}

func newFlusher(t *connectionTable) (*flusher, error) {
	spec, err := skeleton.LoadFlush()
	if err != nil {
		return nil, fmt.Errorf("read the flushing program: %w", err)
	}
	// The headers that it shares with others declare more maps than it uses.
	own := []string{"flushed", "test", ".rodata", ".bss"}
	maps.DeleteFunc(spec.Maps, func(name string, _ *ebpf.MapSpec) bool { return t.maps[name] == nil && !slices.Contains(own, name) })
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements(spec, t.maps)})
	if err != nil {
		return nil, fmt.Errorf("load the flushing program: %w", err)
	}
	return &flusher{loaded, loaded.Maps["flushed"]}, nil
}

// end ends connections and tells how many lived. They are removed when no packet
// is on its way any more that found them alive; one that such a packet has
// prolonged ends again.
func (f *flusher) end(ctx context.Context, batch []flushed) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	if err := f.write(batch); err != nil {
		return 0, err
	}
	ended, err := f.run("flush_expire")
	for range maxFlushes {
		if err != nil {
			return ended, err
		}
		waitForPrograms()
		if _, err := f.run("flush_remove"); err != nil {
			return ended, err
		}
		var again int
		if again, err = f.run("flush_expire"); again == 0 {
			return ended, err
		}
		err = errors.Join(err, ctx.Err())
	}
	return ended, errors.New("some connections do not end: their packets never pause")
}

func (f *flusher) write(batch []flushed) error {
	keys, values := make([]uint32, f.list.MaxEntries()), byteArrays(f.list.ValueSize(), f.list.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
		if i < len(batch) {
			value := values.Index(i).Bytes()
			n := copy(value, batch[i].key)
			binary.NativeEndian.PutUint64(value[n:], batch[i].created)
		}
	}
	if _, err := f.list.BatchUpdate(keys, values.Interface(), nil); err != nil {
		return fmt.Errorf("list the connections: %w", err)
	}
	return nil
}

func (f *flusher) run(program string) (int, error) {
	n, err := f.loaded.Programs[program].Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		return 0, fmt.Errorf("run the flushing program: %w", err)
	}
	return int(n), nil
}
