package packet

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

const (
	linkLocal = "fe800000000000000000000000000009"
	toAll     = "ff020000000000000000000000000001"
	target    = "fd770000000000000000000000000011"
	source    = "0101525400000001" // options
	other     = "0101525400000002"
	targetMAC = "0201525400000001"
	mtu       = "05010000000005dc"
)

// discoveryFrame is a message of the type with this body behind the checksum, behind
// headers whose first is next.
func discoveryFrame(t *testing.T, next byte, headers string, icmpType byte, body ...string) []byte {
	t.Helper()
	message := frame(t, append([]string{headers, hex.EncodeToString([]byte{icmpType, 0, 0, 0})}, body...)...)
	length := be.AppendUint16(nil, uint16(len(message)))
	return slices.Concat(frame(t, macs, "86dd60000000"), length, []byte{next, 255}, frame(t, linkLocal, toAll), message)
}

func TestNeighbourDiscovery(t *testing.T) {
	const reserved, advertised, hops = "00000000", "a0000000", "400007080000000000000000"
	const mac = 0x525400000001
	options := func(n int) string { return strings.Repeat(mtu, n) }
	type read struct {
		target bool   // whether there is one; it can be read if it is not hidden
		hidden bool   // it is ::
		option bool   // whether there is an address, or something that cannot be read
		mac    uint64 // 0: it cannot be read
	}
	for _, test := range []struct {
		name     string
		icmpType byte
		body     []string
		want     read
	}{
		{"a solicitation", 135, []string{reserved, target, source}, read{true, false, true, mac}},
		{"of an address that is looked for", 135, []string{reserved, target}, read{target: true}},
		{"an advertisement", 136, []string{advertised, target, targetMAC}, read{true, false, true, mac}},
		{"a router's solicitation", 133, []string{reserved, source}, read{option: true, mac: mac}},
		{"a router's advertisement", 134, []string{hops, mtu, source, mtu}, read{option: true, mac: mac}},
		{"a redirect", 137, []string{reserved, target, toAll, targetMAC, mtu}, read{true, false, true, mac}},
		{"no neighbour discovery", 138, []string{reserved, target, source}, read{}},
		{"nor this", 132, []string{reserved, target, source}, read{}},
		{"the same address twice", 136, []string{advertised, target, targetMAC, source}, read{true, false, true, mac}},
		{"two addresses", 136, []string{advertised, target, targetMAC, other}, read{true, false, true, 0}},
		{"a second one far behind", 136, []string{advertised, target, targetMAC, options(62), other}, read{true, false, true, 0}},
		{"as many options as are read", 136, []string{advertised, target, options(63), targetMAC}, read{true, false, true, mac}},
		{"one more", 136, []string{advertised, target, targetMAC, options(64)}, read{true, false, true, 0}},
		{"an option of no length", 136, []string{advertised, target, targetMAC, "0500000000000000"}, read{true, false, true, 0}},
		{"an option beyond the end", 136, []string{advertised, target, targetMAC, "0502000000000000"}, read{true, false, true, 0}},
		{"a rest that is no option", 136, []string{advertised, target, targetMAC, "05010000000000"}, read{true, false, true, 0}},
		{"an address of another length", 136, []string{advertised, target, "02025254000000010000000000000000"}, read{true, false, true, 0}},
		{"a message without its target", 136, []string{advertised, target[:30]}, read{true, true, true, 0}},
		{"a router's advertisement cut short", 134, []string{hops[:22]}, read{option: true}},
		{"a redirect without its destination", 137, []string{reserved, target}, read{true, false, true, 0}},
		{"nothing but a type", 135, nil, read{true, true, true, 0}},
	} {
		for where, frame := range map[string][]byte{
			"alone":                     discoveryFrame(t, ProtoICMPv6, "", test.icmpType, test.body...),
			"behind hop-by-hop options": discoveryFrame(t, ProtoHopByHop, "3a00050200000000", test.icmpType, test.body...),
			"far behind":                discoveryFrame(t, ProtoDestOpts, "3a0d01660000"+strings.Repeat("00", 106), test.icmpType, test.body...),
			"in an atomic fragment":     discoveryFrame(t, ProtoFragment, "3a00000000000001", test.icmpType, test.body...),
		} {
			p := Decode(frame, true)
			got := read{p.Have&HaveNDTarget != 0, p.Have&HaveNDTarget != 0 && p.NDTarget == U128{}, p.Have&HaveNDMAC != 0, p.NDMAC}
			if got != test.want || p.Malformed != WellFormed {
				t.Errorf("%s, %s: %+v (malformed %d), want %+v", test.name, where, got, p.Malformed, test.want)
			}
			if got.target && !got.hidden && p.NDTarget != (U128{0xfd77 << 48, 0x11}) {
				t.Errorf("%s, %s: target %x", test.name, where, p.NDTarget)
			}
		}
	}
}

// Hosts ignore fragments of neighbour discovery (RFC 6980), but not all do.
func TestFragmentsOfNeighbourDiscoveryTellNothing(t *testing.T) {
	p := Decode(discoveryFrame(t, ProtoFragment, "3a00000100000001", 136, "a0000000", target, targetMAC), true)
	if p.Fragment != FragmentFirst || p.Have&HaveNDTarget == 0 || p.Have&HaveNDMAC == 0 || p.NDTarget != (U128{}) || p.NDMAC != 0 {
		t.Errorf("%+v", p)
	}
	p = Decode(discoveryFrame(t, ProtoFragment, "3a00000800000001", 136, "a0000000", target, targetMAC), true)
	if p.Fragment != FragmentOrphan || p.Have&(HaveNDTarget|HaveNDMAC) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestNeighbourDiscoveryOverIPv4IsNone(t *testing.T) {
	f, _ := fromText(t, "proto 58 10.0.0.9 > 10.0.0.5 len 32")
	f[34] = NeighbourAdvertisement
	if p := Decode(f, true); p.ICMPType != NeighbourAdvertisement || p.Have&(HaveNDTarget|HaveNDMAC) != 0 {
		t.Errorf("%+v", p)
	}
}
