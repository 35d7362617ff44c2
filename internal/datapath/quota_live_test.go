package datapath

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// opener lets the guest open TCP connections.
const opener = `<filter name="opener">
  <rule action="accept" direction="out"><tcp/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`

// What ends by itself, or with its port, leaves the queue when it is swept.
func TestSweptConnectionsLeaveTheQueue(t *testing.T) {
	l := newLive(t, Automatic)
	l.guard(l.Neighbour.Port, resolve(t, acceptAll)) // keeps the table
	l.guard(l.Guest.Port, resolve(t, opener))
	for _, port := range []uint16{80, 81} {
		l.arrives(l.Guest, l.Neighbour, l.tcp(port), true)
	}
	maps, err := openMaps(filepath.Join(l.host.dir, l.binding(l.Guest.Port).State), []string{"connections", "queue"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeMaps(maps)
	queued := func() (n int) {
		var key, value []byte
		for all := maps["queue"].Iterate(); all.Next(&key, &value); {
			n++
		}
		return n
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(20 * time.Second); !done(); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s: not so after 20 s; %d in the queue", what, queued())
			}
		}
	}
	if n := queued(); n != 2 {
		t.Fatalf("%d in the queue, want 2", n)
	}
	endOne(t, maps["connections"])
	wait("one has expired", func() bool {
		s := l.stats(l.Guest.Port)
		return s.Connections == 1 && s.Expired == 1 && queued() == 1
	})
	l.release(l.Guest.Port)
	wait("the other's port was released", func() bool { return queued() == 0 })
}

// endOne lets a connection have ended long ago.
func endOne(t *testing.T, connections *ebpf.Map) {
	t.Helper()
	const expiresAt = 16 // in struct connection
	for i := range connections.MaxEntries() {
		var shard *ebpf.Map
		if err := connections.Lookup(i, &shard); err != nil {
			t.Fatal(err)
		}
		var key, value []byte
		found := shard.Iterate().Next(&key, &value)
		if found {
			binary.NativeEndian.PutUint64(value[expiresAt:], 1)
			if err := shard.Update(key, value, ebpf.UpdateExist); err != nil {
				t.Fatal(err)
			}
		}
		shard.Close()
		if found {
			return
		}
	}
	t.Fatal("there is no connection")
}
