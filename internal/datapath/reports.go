package datapath

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// Report is a packet that a port dropped or passed.
type Report struct {
	Time time.Time
	// Port is empty if it was guarded and released again unseen.
	Port      string
	Direction policy.Direction
	Verdict   verdict.Verdict
	Reason    verdict.Reason
	// Filter is the port's.
	Filter string
	// Clause decided; nil if none did, or if its policy came and went unseen.
	Clause *Clause
	// State and Conn are what the tracker made of the packet; 0 if it was not
	// asked.
	State packet.State
	Conn  packet.Direction
	// Invalid is why the state is INVALID.
	Invalid packet.Invalid
	// Guest is the address of the guest's network card.
	Guest string
	// Received tells whether the port's device received the packet: what the
	// guest sends, unless the device is a macvtap.
	Received bool
	// Frame holds the first bytes, up to 256, of Length.
	Frame  []byte
	Length int
}

// reportHeader mirrors struct report, without the packet's head.
type reportHeader struct {
	Time         uint64
	Port         uint32
	Generation   uint32
	Clause       uint32
	Length       uint32
	Captured     uint16
	VLANProtocol uint16
	VLANTCI      uint16
	Out          uint8
	Verdict      verdict.Verdict
	Reason       verdict.Reason
	State        packet.State
	Conn         packet.Direction
	Invalid      packet.Invalid
	_            [2]uint8
}

// noClause is NO_CLAUSE in maps.h.
const noClause = 0x0fffffff

// decodeReport reads what a program sent: the header and the packet's first
// bytes, with the tag that the kernel had taken out put back.
func decodeReport(raw []byte) (reportHeader, []byte, error) {
	var h reportHeader
	n, err := binary.Decode(raw, binary.NativeEndian, &h)
	if err != nil || len(raw)-n < int(h.Captured) {
		return h, nil, fmt.Errorf("a report of %d bytes is not what this version of tapgate sends", len(raw))
	}
	frame := putTagBack(slices.Clone(raw[n:n+int(h.Captured)]), h.VLANProtocol, h.VLANTCI)
	h.Length += uint32(len(frame)) - uint32(h.Captured)
	return h, frame, nil
}

// putTagBack inserts the tag that the kernel had taken out of a frame; there was
// none if the protocol is 0.
func putTagBack(frame []byte, protocol, tci uint16) []byte {
	const macs = 12
	if protocol == 0 || len(frame) < macs {
		return frame
	}
	tag := binary.BigEndian.AppendUint16(nil, protocol)
	return slices.Insert(frame, macs, binary.BigEndian.AppendUint16(tag, tci)...)
}

// report joins what a program sent with the binding that it enforced, nil if
// that is not known.
func (h *reportHeader) report(frame []byte, b *Binding, at time.Time) *Report {
	r := &Report{
		Time: at, Direction: policy.In, Verdict: h.Verdict, Reason: h.Reason,
		State: h.State, Conn: h.Conn, Invalid: h.Invalid, Frame: frame, Length: int(h.Length),
	}
	if h.Out != 0 {
		r.Direction = policy.Out
	}
	if b == nil {
		return r
	}
	r.Port, r.Filter, r.Guest = b.Port, b.Filter, b.MAC
	r.Received = (r.Direction == policy.Out) != swapped(b.Kind)
	if h.Clause != noClause && int(h.Clause) < len(b.Clauses) {
		r.Clause = &b.Clauses[h.Clause]
	}
	return r
}
