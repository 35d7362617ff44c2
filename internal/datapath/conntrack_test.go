package datapath

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// refusedMAC is the source of packets that the tracking policy drops after
// their classification.
var refusedMAC = []byte{0x02, 0, 0, 0, 0, 0xdd}

const trackingPolicy = `<filter name="x">
  <rule action="drop" direction="in"><all srcmacaddr="02:00:00:00:00:dd" state="NONE"/></rule>
  <rule action="drop" direction="out"><all srcmacaddr="02:00:00:00:00:dd" state="NONE"/></rule>
  <rule action="drop" direction="in"><all-ipv6 srcmacaddr="02:00:00:00:00:dd" state="NONE"/></rule>
  <rule action="drop" direction="out"><all-ipv6 srcmacaddr="02:00:00:00:00:dd" state="NONE"/></rule>
  <rule action="accept" direction="in"><all state="RELATED"/></rule>
</filter>`

// protoInKey is where struct conn_key has the protocol.
const protoInKey = 5

// entry is one of the port's connections.
type entry struct {
	proto uint8
	value []byte
}

// tracker is the eBPF tracker as the shared sequences know one.
type tracker struct {
	*Tester
	flow *btf.Struct
}

func newTracker(t *testing.T, p *policy.Policy, config Config) *tracker {
	t.Helper()
	tester, err := NewTester(p, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tester.Close)
	spec, err := skeleton.Load()
	if err != nil {
		t.Fatal(err)
	}
	k := &tracker{Tester: tester}
	if err := spec.Types.TypeByName("flow", &k.flow); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *tracker) Judge(t *testing.T, frame []byte, out bool, now int64, accept bool) (packet.State, packet.Direction) {
	t.Helper()
	if !accept {
		frame = slices.Concat(frame[:6], refusedMAC, frame[12:])
	}
	r, err := k.Run(frame, out, now)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Passes() != accept {
		t.Fatalf("the policy's verdict is %v (%v), want accept %v", r.Verdict, r.Reason, accept)
	}
	return r.State, r.Direction
}

// member reads a number out of an entry's struct flow, which stands behind
// the tag.
func (k *tracker) member(t *testing.T, e entry, name string) uint64 {
	t.Helper()
	return k.memberAt(t, e, name, 0)
}

// memberAt reads at most eight bytes from an offset within the member.
func (k *tracker) memberAt(t *testing.T, e entry, name string, offset uint32) uint64 {
	t.Helper()
	for _, m := range k.flow.Members {
		if m.Name == name {
			size, err := btf.Sizeof(m.Type)
			if err != nil {
				t.Fatal(err)
			}
			var b [8]byte
			copy(b[:min(8, size)], e.value[8+m.Offset.Bytes()+offset:])
			return binary.NativeEndian.Uint64(b[:])
		}
	}
	t.Fatalf("struct flow has no member %s", name)
	return 0
}

// entries are the port's connections.
func (k *tracker) entries(t *testing.T) []entry {
	t.Helper()
	var list []entry
	connections := k.bed.maps["connections"]
	for i := range connections.MaxEntries() {
		var shard *ebpf.Map
		if err := connections.Lookup(i, &shard); err != nil {
			t.Fatal(err)
		}
		var key, value []byte
		entries := shard.Iterate()
		for entries.Next(&key, &value) {
			if binary.NativeEndian.Uint32(key) == k.state.Port {
				list = append(list, entry{key[protoInKey], slices.Clone(value)})
			}
		}
		shard.Close()
	}
	return list
}

func (k *tracker) ProtoState(t *testing.T, now int64) string {
	t.Helper()
	for _, e := range k.entries(t) {
		if k.member(t, e, "expires") <= uint64(now) {
			continue
		}
		state := k.member(t, e, "state")
		if e.proto == packet.ProtoSCTP {
			return conntrack.SCTPState(state).String()
		}
		return conntrack.TCPState(state).String()
	}
	return ""
}

// The tracker in the kernel finds the states that the Go one finds.
func TestTrackerSequences(t *testing.T) {
	needRoot(t)
	p := resolve(t, trackingPolicy)
	type settings struct {
		pickUp   bool
		timeouts conntrack.Timeouts
	}
	trackers := map[settings]*tracker{}
	begin := func(sub *testing.T, config conntrack.Config) conntracktest.Engine {
		if config.Services != nil {
			return newTracker(sub, p, Config{Services: config.Services})
		}
		k := trackers[settings{config.PickUp, config.Timeouts}]
		if k == nil {
			k = newTracker(t, p, Config{NoPickUp: !config.PickUp, Timeouts: config.Timeouts})
			trackers[settings{config.PickUp, config.Timeouts}] = k
		}
		if err := k.Reset(); err != nil {
			sub.Fatal(err)
		}
		return k
	}
	t.Run("states", func(t *testing.T) { conntracktest.Run(t, begin) })
	t.Run("helpers", func(t *testing.T) { conntracktest.RunHelpers(t, begin) })
}

// An association is assured from its COOKIE-ACK on, and not before.
func TestAssociationsAreAssured(t *testing.T) {
	needRoot(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	if err := k.Reset(); err != nil {
		t.Fatal(err)
	}
	steps, err := conntracktest.Script("o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(9,cookie-echo) EST · r:sctp(7,cookie-ack) EST")
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		k.Judge(t, s.Frame, s.Out, int64(i+1)*1e9, true)
		entries := k.entries(t)
		if len(entries) != 1 {
			t.Fatalf("%s: %d entries", s.Text, len(entries))
		}
		if got, want := k.member(t, entries[0], "flags")&connAssured != 0, i == len(steps)-1; got != want {
			t.Errorf("%s: assured %v, want %v", s.Text, got, want)
		}
	}
}
