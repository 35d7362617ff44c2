package datapath

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// Expectation is a connection that a helper waits for at a port.
type Expectation struct {
	// Helper read the announcement in the Control connection.
	Helper  conntrack.Helper
	Control *Control
	Proto   uint8
	// From is who may open the connection, the zero Addr if anyone may; To is
	// where it leads.
	From netip.Addr
	To   netip.AddrPort
	// Timeout is what is left to it.
	Timeout time.Duration
}

// anySource marks the family of a target that anyone may reach: TARGET_ANY_SOURCE
// in expectation.h.
const anySource = 0x80

// Expectations yields what helpers wait for at a port, in no order.
func (h *Host) Expectations(ctx context.Context, port string) iter.Seq2[*Expectation, error] {
	return func(yield func(*Expectation, error) bool) {
		t, err := h.openTable(ctx, port)
		if err != nil {
			yield(nil, err)
			return
		}
		defer t.close()
		for e, err := range t.expectations(monotonic()) {
			if err != nil {
				err = portError("list the expectations of", port, needsRoot(err))
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// streamLayout says where the record of a followed connection has what.
type streamLayout struct {
	port, number                         member // in the key
	master, slots                        member // in the value
	target, expires                      member // in a slot
	family, proto, dstPort, srcIP, dstIP member // in a target
}

func newStreamLayout(types *btf.Spec) (*streamLayout, error) {
	l := &streamLayout{}
	return l, errors.Join(
		findMembers(types, "record", map[string]*member{"port": &l.port, "number": &l.number}),
		findMembers(types, "stream", map[string]*member{"master": &l.master, "slots": &l.slots}),
		findMembers(types, "announcement", map[string]*member{"target": &l.target, "expires": &l.expires}),
		findMembers(types, "target", map[string]*member{
			"family": &l.family, "proto": &l.proto, "dst_port": &l.dstPort, "src_ip": &l.srcIP, "dst_ip": &l.dstIP,
		}),
	)
}

// expectation reads a slot; nil if nothing stands in it.
func (l *streamLayout) expectation(slot []byte, now int64) *Expectation {
	expires := int64(l.expires.read(slot, 0))
	if expires <= now {
		return nil
	}
	t := slot[l.target.at:]
	family := uint8(l.family.read(t, 0))
	opens := conntrack.Connection{Key: conntrack.Key{
		Family: family &^ anySource, Proto: uint8(l.proto.read(t, 0)),
		A: packet.U128{Hi: l.srcIP.read(t, 0), Lo: l.srcIP.read(t, 1)},
		B: packet.U128{Hi: l.dstIP.read(t, 0), Lo: l.dstIP.read(t, 1)}, BPort: uint16(l.dstPort.read(t, 0)),
	}}
	e := &Expectation{Proto: opens.Proto, From: opens.Originator().Addr(), To: opens.Responder(), Timeout: time.Duration(expires - now)}
	if family&anySource != 0 {
		e.From = netip.Addr{}
	}
	return e
}

// expectations yields what stands: what its control connection, which lives and
// is still followed, has announced and nobody has taken.
func (t *connectionTable) expectations(now int64) iter.Seq2[*Expectation, error] {
	return func(yield func(*Expectation, error) bool) {
		l, err := newStreamLayout(t.types)
		if err != nil {
			yield(nil, err)
			return
		}
		var key, value []byte
		records := t.maps["streams"].Iterate()
		for records.Next(&key, &value) {
			if uint32(l.port.read(key, 0)) != t.number {
				continue
			}
			control, record, err := t.control(value[l.master.at:][:l.master.size], now)
			if err != nil {
				yield(nil, err)
				return
			}
			if control.Gone || record != uint32(l.number.read(key, 0))+1 {
				continue
			}
			for i := range l.slots.n {
				e := l.expectation(value[l.slots.at+i*l.slots.size:], now)
				if e == nil {
					continue
				}
				e.Helper, e.Control = control.Helper, control
				if !yield(e, nil) {
					return
				}
			}
		}
		// Ports that are released meanwhile make it end early.
		if err := records.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
			yield(nil, err)
		}
	}
}
