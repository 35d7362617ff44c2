package ipset

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/internal/packet"
)

func build(t *testing.T, typeName string, family uint8, members ...string) *Set {
	t.Helper()
	s, err := New("test", typeName, family)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if err := s.Add(m); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func list(s *Set) []string {
	var all []string
	for e := range s.Entries {
		all = append(all, fmt.Sprintf("%s/%d %v", hex.EncodeToString(e.Key), e.Bits, e.NoMatch))
	}
	slices.Sort(all)
	return all
}

func sameSet(t *testing.T, got, want *Set) {
	t.Helper()
	if diff := cmp.Diff(list(want), list(got)); diff != "" || got.Len() != want.Len() || !got.Shape.Equal(want.Shape) {
		t.Errorf("%s: (-want +got)\n%s", want.Type, diff)
	}
}

func TestMembers(t *testing.T) {
	for _, c := range []struct {
		typeName, member string
		want             []string
	}{
		{"hash:ip", "10.0.0.1", []string{"0a000001/32 false"}},
		{"hash:ip", "10.0.0.0/30", []string{"0a000000/30 false"}},
		{"hash:ip", "10.0.0.1-10.0.0.4", []string{"0a000001/32 false", "0a000002/31 false", "0a000004/32 false"}},
		{"hash:ip", "10.0.0.1 timeout 30 comment x", []string{"0a000001/32 false"}},
		{"hash:net", "10.9.8.7/8", []string{"0a000000/8 false"}},
		{"hash:net", "10.1.0.0/16 nomatch", []string{"0a010000/16 true"}},
		{"hash:ip,port", "10.0.0.1,tcp:80", []string{"060000500a000001/64 false"}},
		{"hash:ip,port", "10.0.0.1,udp:80-81", []string{"110000500a000001/64 false", "110000510a000001/64 false"}},
		{"hash:ip,port", "10.0.0.1,icmp:8/0", []string{"010008000a000001/64 false"}},
		{"hash:net,port", "10.0.0.0/8,80", []string{"060000500a000000/40 false"}},
		{"hash:ip,port,net", "10.0.0.1,80,10.0.0.0/24", []string{"0a000001060000500a000000/88 false"}},
		{"hash:ip,mac", "10.0.0.1,52:54:00:00:00:01", []string{"00005254000000010a000001/96 false"}},
		{"hash:mac", "52:54:00:00:00:01", []string{"0000525400000001/64 false"}},
		{"bitmap:port", "22", []string{"06000016/32 false", "11000016/32 false"}},
	} {
		if diff := cmp.Diff(c.want, list(build(t, c.typeName, 4, c.member))); diff != "" {
			t.Errorf("%s %s:\n%s", c.typeName, c.member, diff)
		}
	}
}

func TestBadMembers(t *testing.T) {
	for _, c := range []struct{ typeName, member, fault string }{
		{"hash:ip", "10.0.0.300", "no address"},
		{"hash:ip", "", "empty"},
		{"hash:ip", "fd00::1", "address family"},
		{"hash:ip", "10.0.0.9-10.0.0.1", "no range"},
		{"hash:ip", "10.0.0.1,80", "2 parts, expected 1"},
		{"hash:ip,port", "10.0.0.1,tcp:http", "no port"},
		{"hash:ip,port", "10.0.0.1,xyz:1", "no protocol"},
		{"hash:ip,port,ip", "10.0.0.1,80,10.0.0.0/8", "too many"},
		{"hash:mac", "52:54", "no MAC"},
	} {
		s, err := New("test", c.typeName, 4)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(c.member); err == nil || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s %q: %v, want %q", c.typeName, c.member, err, c.fault)
		}
	}
	if _, err := New("x", "list:set", 4); err == nil || !strings.Contains(err.Error(), `"x" is of type list:set, which is not supported`) {
		t.Errorf("list:set: %v", err)
	}
}

// packetOf makes a packet of a short text.
func packetOf(t *testing.T, text string) *packet.Packet {
	t.Helper()
	frame, err := packet.FromText(text, packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 1}, Dst: []byte{0x52, 0x54, 0, 0, 0, 2}})
	if err != nil {
		t.Fatal(err)
	}
	p := packet.Decode(frame, true)
	return &p
}

func TestContains(t *testing.T) {
	for _, c := range []struct {
		typeName, members, flags, packet string
		want                             bool
	}{
		{"hash:ip", "10.0.0.1", "src", "udp 10.0.0.1:1 > 10.0.0.2:2", true},
		{"hash:ip", "10.0.0.1", "dst", "udp 10.0.0.1:1 > 10.0.0.2:2", false},
		{"hash:ip", "10.0.0.1", "src,dst", "udp 10.0.0.1:1 > 10.0.0.2:2", true}, // beyond the dimensions: left out
		{"hash:ip", "10.0.0.1", "SRC", "udp [fd00::1]:1 > [fd00::2]:2", false},
		{"hash:net", "10.0.0.0/8;10.1.0.0/16 nomatch;10.1.1.0/24", "src", "udp 10.2.0.1:1 > 10.0.0.2:2", true},
		{"hash:net", "10.0.0.0/8;10.1.0.0/16 nomatch;10.1.1.0/24", "src", "udp 10.1.0.1:1 > 10.0.0.2:2", false},
		{"hash:net", "10.0.0.0/8;10.1.0.0/16 nomatch;10.1.1.0/24", "src", "udp 10.1.1.1:1 > 10.0.0.2:2", true},
		{"hash:ip,port", "10.0.0.1,udp:2", "src,dst", "udp 10.0.0.1:1 > 10.0.0.2:2", true},
		{"hash:ip,port", "10.0.0.1,tcp:2", "src,dst", "udp 10.0.0.1:1 > 10.0.0.2:2", false},
		{"hash:ip,port", "10.0.0.1,udp:2", "src,src", "udp 10.0.0.1:1 > 10.0.0.2:2", false},
		{"hash:ip,port", "10.0.0.1,udp:2", "src", "udp 10.0.0.1:1 > 10.0.0.2:2", false}, // too few flags
		{"hash:ip,port", "10.0.0.1,icmp:8/0", "src,dst", "icmp 10.0.0.1 > 10.0.0.2 echo-request", true},
		{"hash:ip,port", "10.0.0.1,esp:0", "src,dst", "proto 50 10.0.0.1 > 10.0.0.2", true},
		{"bitmap:port", "2", "dst", "udp [fd00::1]:1 > [fd00::2]:2", true},
		{"bitmap:port", "2", "dst", "sctp 10.0.0.1:1 > 10.0.0.2:2", false},
		{"hash:mac", "52:54:00:00:00:01", "src", "udp 10.0.0.1:1 > 10.0.0.2:2", true},
		{"hash:mac", "52:54:00:00:00:01", "dst", "udp 10.0.0.1:1 > 10.0.0.2:2", false},
	} {
		s := build(t, c.typeName, 4, strings.Split(c.members, ";")...)
		got := false
		if l, ok := s.Lookup(c.flags); ok {
			key, complete := l.Key(packetOf(t, c.packet))
			got = complete && s.Contains(key)
		}
		if got != c.want {
			t.Errorf("%s {%s} %s %s: %v", c.typeName, c.members, c.flags, c.packet, got)
		}
	}
}

func TestPrefixesOf(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"0.0.0.0", "255.255.255.255", "[0.0.0.0/0]"},
		{"10.0.0.255", "10.0.1.1", "[10.0.0.255/32 10.0.1.0/31]"},
		{"fd00::", "fd00::3", "[fd00::/126]"},
		{"255.255.255.255", "255.255.255.255", "[255.255.255.255/32]"},
	} {
		if got := fmt.Sprint(prefixesOf(netip.MustParseAddr(c.from), netip.MustParseAddr(c.to))); got != c.want {
			t.Errorf("%s-%s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}
