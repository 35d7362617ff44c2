package conntrack

import (
	"encoding/binary"

	"tapgate/internal/packet"
)

// kind is what an automaton's announcements of one sort have in common. They
// share a row of their stream's slots: when all are taken, the oldest
// announcement gives way.
type kind struct {
	first, slots uint8
	proto        uint8
	flags        kindFlags
	lifetime     uint16 // seconds
	reader       Helper // of the announced connection
}

type kindFlags uint8

// The flags, as in automaton.h.
const (
	// anySource: whoever connects is expected, else only the other end.
	anySource kindFlags = 1 << iota
	// toOriginator: the end that opened the control connection listens, else
	// the one that speaks.
	toOriginator
	// paired: an even port and the odd one above it are announced together.
	paired
	// registering: the announcement is not used up, but counts only once its
	// registrar agrees. Its protocol is the control connection's.
	registering
)

// append lays the kind out as struct kind of automaton.h: 8 bytes, the
// lifetime in the machine's order.
func (k kind) append(b []byte) []byte {
	b = append(b, k.first, k.slots, k.proto, uint8(k.flags))
	b = binary.NativeEndian.AppendUint16(b, k.lifetime)
	return append(b, uint8(k.reader), 0)
}

// target is the connection that the packet's sender announces at a port.
func (k *kind) target(p *packet.Packet, port uint16) target {
	t := target{Family: p.Family, Proto: k.proto, DstPort: port, Src: p.DstIP, Dst: p.SrcIP}
	if k.flags&registering != 0 {
		t.Proto = p.LinkProto
	}
	if k.flags&toOriginator != 0 && p.Direction == packet.Reply {
		t.Src, t.Dst = t.Dst, t.Src
	}
	if k.flags&anySource != 0 {
		t.AnySource, t.Src = true, packet.U128{}
	}
	return t
}
