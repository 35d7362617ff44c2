package conntrack

import (
	"time"

	"tapgate/internal/packet"
)

// target is what an expectation admits: one packet with exactly these
// addresses and this destination port, from any source port.
type target struct {
	Family, Proto uint8
	DstPort       uint16
	Src, Dst      packet.U128
}

type expectation struct {
	master  Key
	expires int64 // nanoseconds on the tracker's clock
}

// Expectations are the connections that helpers wait for at one port. Each
// belongs to the control connection that announced it, its master, and counts
// only while the master lives and announces nothing else. Mirrored by
// expectation.h.
type Expectations struct {
	entries map[target]expectation
	// standing tells whether the master lives and t is its latest announcement.
	standing func(master Key, t target, now int64) bool
}

// Take tells whether a helper announced the connection that p would open. The
// expectation is used up by it, whatever becomes of p.
func (e *Expectations) Take(p *packet.Packet) bool {
	if p.Have&packet.HavePorts == 0 {
		return false
	}
	t := target{p.Family, p.LinkProto, p.DstPort, p.SrcIP, p.DstIP}
	x, ok := e.entries[t]
	if !ok {
		return false
	}
	delete(e.entries, t)
	return p.Now < x.expires && e.standing(x.master, t, p.Now)
}

// add makes or refreshes an expectation. Where two masters announce the same
// connection the later one has it.
func (e *Expectations) add(t target, master Key, now int64, lifetime time.Duration) {
	e.entries[t] = expectation{master, now + int64(lifetime)}
}

// remove takes back what the master announced, unless it is another's by now.
func (e *Expectations) remove(t target, master Key) {
	if e.entries[t].master == master {
		delete(e.entries, t)
	}
}
