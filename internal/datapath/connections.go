package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"reflect"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath/skeleton"
)

// Connection is a live connection of a port as it was when it was read.
type Connection struct {
	conntrack.Connection
	Age time.Duration
	// Timeout is what is left to it if no packet prolongs it.
	Timeout time.Duration
	// Control is the connection by which a helper learnt of this one; nil if none
	// did. Announced.By is the helper.
	Control *Control
	// Rule is the clause that passed the first packet. It is nil if none did
	// (Admitted is 0), or if the port's policy has it no more.
	Rule *Clause
}

// Control is the connection that announced another.
type Control struct {
	// Connection has only its key if it is gone.
	conntrack.Connection
	Gone bool
}

// ErrOtherLayout says that a port's programs are of a version that keeps
// connections in another form.
var ErrOtherLayout = errors.New("the port was bound by another version of tapgate; bind it again to see its connections")

// Connections yields a port's live connections in no order. The table is read shard
// by shard while it goes on changing.
func (h *Host) Connections(ctx context.Context, port string) iter.Seq2[*Connection, error] {
	return func(yield func(*Connection, error) bool) {
		t, err := h.openTable(ctx, port)
		if err != nil {
			yield(nil, err)
			return
		}
		defer t.close()
		now := monotonic()
		for entry, err := range t.entries(now) {
			if err != nil {
				yield(nil, portError("list the connections of", port, needsRoot(err)))
				return
			}
			c, err := t.describe(entry, now)
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// connectionMaps are the shared maps of which the table consists, and with which it
// is changed.
var connectionMaps = []string{"connections", "secret", "locks", "ports", "queue", "related", "streams"}

// connectionTable is the table of connections as one port sees it.
type connectionTable struct {
	number uint32
	types  *btf.Spec // of the skeleton
	maps   map[string]*ebpf.Map
	// shard opens a shard of the table, for the caller to close.
	shard  func(i uint32) (*ebpf.Map, error)
	layout *connectionLayout
	rules  map[uint64]*Clause
}

func (h *Host) openTable(ctx context.Context, port string) (*connectionTable, error) {
	t := &connectionTable{rules: map[uint64]*Clause{}}
	err := h.read(ctx, port, func(_ *portState, g *generation) error {
		spec, err := skeleton.Load()
		if err != nil {
			return fmt.Errorf("read the skeleton: %w", err)
		}
		b := &g.binding
		if b.State != stateName(spec) {
			return ErrOtherLayout
		}
		if t.layout, err = newConnectionLayout(spec.Types); err != nil {
			return err
		}
		t.number, t.types = b.Number, spec.Types
		t.addRules(b.Clauses)
		state := filepath.Join(h.dir, b.State)
		t.shard = func(i uint32) (*ebpf.Map, error) {
			return ebpf.LoadPinnedMap(filepath.Join(state, shardName("connections", i)), &ebpf.LoadPinOptions{ReadOnly: true})
		}
		t.maps, err = openMaps(state, connectionMaps)
		return needsRoot(err)
	})
	if err != nil {
		var missing *NotGuardedError
		if errors.As(err, &missing) {
			return nil, err
		}
		return nil, portError("read the connections of", port, err)
	}
	return t, nil
}

func (t *connectionTable) close() { closeMaps(t.maps) }

func (t *connectionTable) addRules(clauses []Clause) {
	for i := range clauses {
		if name, ok := nameNumber(clauses[i].Name); ok {
			t.rules[name] = &clauses[i]
		}
	}
}

func (t *connectionTable) describe(e rawConnection, now int64) (*Connection, error) {
	c := &Connection{Connection: t.layout.connection(e.key, e.value)}
	c.Age = time.Duration(max(now-c.Created, 0))
	c.Timeout = time.Duration(c.Expires - now)
	c.Rule = t.rules[c.Admitted]
	if !c.Expected {
		return c, nil
	}
	key, err := t.maps["related"].LookupBytes(e.key)
	if err != nil || key == nil { // it is being removed
		return c, err
	}
	c.Control, _, err = t.control(key, now)
	if err == nil {
		c.Announced.Master = c.Control.Key
	}
	return c, err
}

// control finds a control connection by its key, and the number of its record
// among the followed ones, from 1 on.
func (t *connectionTable) control(key []byte, now int64) (c *Control, record uint32, err error) {
	gone := &Control{Connection: conntrack.Connection{Key: t.layout.key(key)}, Gone: true}
	index, err := t.shardOf(key)
	if err != nil {
		return nil, 0, err
	}
	shard, err := t.shard(index)
	if err != nil {
		return nil, 0, err
	}
	defer shard.Close()
	value, err := shard.LookupBytes(key)
	if err != nil {
		return nil, 0, err
	}
	if value == nil || int64(t.layout.expires.read(value, 0)) <= now {
		return gone, 0, nil
	}
	return &Control{Connection: t.layout.connection(key, value)}, uint32(t.layout.stream.read(value, 0)), nil
}

// shardOf tells in which shard a connection is: keyed_hash in conn_find.h.
func (t *connectionTable) shardOf(key []byte) (uint32, error) {
	secret, err := t.maps["secret"].LookupBytes(uint32(0))
	if err != nil {
		return 0, err
	}
	words := secret[:len(secret)-8]
	hash := binary.LittleEndian.Uint64(secret[len(words):])
	for i := 0; i+4 <= len(key); i += 4 {
		hash += binary.LittleEndian.Uint64(words[2*i:]) * uint64(binary.LittleEndian.Uint32(key[i:]))
	}
	return (uint32(hash>>32) | 1<<31) % t.maps["connections"].MaxEntries(), nil
}

// rawConnection is an entry of the table, valid until the next is asked for.
type rawConnection struct{ key, value []byte }

// entries yields the port's entries that are live.
func (t *connectionTable) entries(now int64) iter.Seq2[rawConnection, error] {
	return func(yield func(rawConnection, error) bool) {
		table := t.maps["connections"]
		var buffer shardBuffer
		for i := range table.MaxEntries() {
			shard, err := t.shard(i)
			if err != nil {
				yield(rawConnection{}, err)
				return
			}
			goOn, err := t.read(shard, &buffer, now, yield)
			shard.Close()
			if err != nil {
				yield(rawConnection{}, err)
			}
			if !goOn || err != nil {
				return
			}
		}
	}
}

// shardBuffer has room for a shard.
type shardBuffer struct{ keys, values reflect.Value }

// read reads a shard in one call.
func (t *connectionTable) read(shard *ebpf.Map, b *shardBuffer, now int64, yield func(rawConnection, error) bool) (goOn bool, err error) {
	if !b.keys.IsValid() {
		b.keys = byteArrays(shard.KeySize(), shard.MaxEntries())
		b.values = byteArrays(shard.ValueSize(), shard.MaxEntries())
	}
	var cursor ebpf.MapBatchCursor
	n, err := shard.BatchLookup(&cursor, b.keys.Interface(), b.values.Interface(), nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, err
	}
	for i := range n {
		e := rawConnection{b.keys.Index(i).Bytes(), b.values.Index(i).Bytes()}
		if uint32(t.layout.port.read(e.key, 0)) != t.number || int64(t.layout.expires.read(e.value, 0)) <= now {
			continue
		}
		if !yield(e, nil) {
			return false, nil
		}
	}
	return true, nil
}

// byteArrays makes a slice of n arrays of bytes, whose length only the map
// knows.
func byteArrays(size, n uint32) reflect.Value {
	array := reflect.ArrayOf(int(size), reflect.TypeFor[byte]())
	return reflect.MakeSlice(reflect.SliceOf(array), int(n), int(n))
}

// monotonic is the clock of the connections.
func monotonic() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now)
	return now.Nano()
}
