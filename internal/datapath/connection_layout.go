package datapath

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// Flags of struct flow: enum connection_flag in conntrack_types.h.
const (
	connOriginB   = 1 << 0
	connSeenReply = 1 << 1
	connExpected  = 1 << 2
	connAssured   = 1 << 3
	connOut       = 1 << 16
)

// member is where something stands, of so many bytes; an array has n of them.
type member struct{ at, size, n uint32 }

// read gives a number of up to 8 bytes.
func (m member) read(entry []byte, index uint32) uint64 {
	var b [8]byte
	copy(b[:], entry[m.at+index*m.size:][:m.size])
	return binary.LittleEndian.Uint64(b[:])
}

// connectionLayout says where the table of connections has what, from the
// skeleton's BTF.
type connectionLayout struct {
	// in the key
	port, family, proto, aPort, bPort, aIP, bIP member
	// in the value
	created, expires, packets, bytes, flags, state, admitted, helper, announcedBy, stream member
}

func newConnectionLayout(types *btf.Spec) (*connectionLayout, error) {
	l := &connectionLayout{}
	err := findMembers(types, "conn_key", map[string]*member{
		"port": &l.port, "family": &l.family, "proto": &l.proto,
		"a_port": &l.aPort, "b_port": &l.bPort, "a_ip": &l.aIP, "b_ip": &l.bIP,
	})
	if err != nil {
		return nil, err
	}
	inFlow := map[string]*member{
		"created": &l.created, "expires": &l.expires, "packets": &l.packets, "bytes": &l.bytes,
		"flags": &l.flags, "state": &l.state, "admitted": &l.admitted,
		"helper": &l.helper, "announced_by": &l.announcedBy, "stream": &l.stream,
	}
	if err := findMembers(types, "flow", inFlow); err != nil {
		return nil, err
	}
	var flow member
	if err := findMembers(types, "connection", map[string]*member{"flow": &flow}); err != nil {
		return nil, err
	}
	for _, m := range inFlow {
		m.at += flow.at
	}
	return l, nil
}

// findMembers finds members of a struct by their names.
func findMembers(types *btf.Spec, name string, members map[string]*member) error {
	var s *btf.Struct
	if err := types.TypeByName(name, &s); err != nil {
		return fmt.Errorf("find struct %s in the skeleton's BTF: %w", name, err)
	}
	for name, to := range members {
		i := slices.IndexFunc(s.Members, func(m btf.Member) bool { return m.Name == name })
		if i < 0 {
			return fmt.Errorf("struct %s of the skeleton has no member %s", s.Name, name)
		}
		element, n := btf.UnderlyingType(s.Members[i].Type), uint32(1)
		if array, ok := element.(*btf.Array); ok {
			element, n = array.Type, array.Nelems
		}
		size, err := btf.Sizeof(element)
		if err != nil {
			return err
		}
		*to = member{s.Members[i].Offset.Bytes(), uint32(size), n}
	}
	return nil
}

func (l *connectionLayout) key(raw []byte) conntrack.Key {
	return conntrack.Key{
		Family: uint8(l.family.read(raw, 0)), Proto: uint8(l.proto.read(raw, 0)),
		APort: uint16(l.aPort.read(raw, 0)), BPort: uint16(l.bPort.read(raw, 0)),
		A: packet.U128{Hi: l.aIP.read(raw, 0), Lo: l.aIP.read(raw, 1)},
		B: packet.U128{Hi: l.bIP.read(raw, 0), Lo: l.bIP.read(raw, 1)},
	}
}

func (l *connectionLayout) connection(key, value []byte) conntrack.Connection {
	flags := l.flags.read(value, 0)
	c := conntrack.Connection{
		Key:       l.key(key),
		OriginB:   flags&connOriginB != 0,
		Out:       flags&connOut != 0,
		SeenReply: flags&connSeenReply != 0,
		Expected:  flags&connExpected != 0,
		Assured:   flags&connAssured != 0,
		Created:   int64(l.created.read(value, 0)),
		Expires:   int64(l.expires.read(value, 0)),
		Packets:   [2]uint64{l.packets.read(value, 0), l.packets.read(value, 1)},
		Bytes:     [2]uint64{l.bytes.read(value, 0), l.bytes.read(value, 1)},
		Admitted:  l.admitted.read(value, 0),
		Helper:    conntrack.Helper(l.helper.read(value, 0)),
	}
	if c.Expected {
		c.Announced.By = conntrack.Helper(l.announcedBy.read(value, 0))
	}
	switch c.Proto {
	case packet.ProtoTCP:
		c.TCP.State = conntrack.TCPState(l.state.read(value, 0))
	case packet.ProtoSCTP:
		c.SCTP.State = conntrack.SCTPState(l.state.read(value, 0))
	}
	return c
}
