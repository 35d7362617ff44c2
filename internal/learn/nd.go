package learn

import (
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"
)

const (
	maxProbes = 16
	// probeTime is how long somebody may object to an address that the guest looks
	// for duplicates of: RetransTimer (RFC 4861 section 10) after a probe, and as
	// much again for who answers late.
	probeTime = 2 * time.Second
	// maxOthers addresses that others have are remembered, for othersTime or as
	// long as a router says that it is one.
	maxOthers  = 16
	othersTime = 30 * time.Minute
)

// probe is duplicate address detection (RFC 4862 section 5.4) that is under way.
type probe struct {
	Target [16]byte
	New    bool  // the guest had not got the address before
	At     int64 // unix, nanoseconds
}

// other is an address that somebody else has shown to have: a router, or who
// objected to the guest's having it.
type other struct {
	Address [16]byte
	End     int64 // unix, nanoseconds
}

// discover is told a message of neighbour discovery. As in RFC 6620 an address is
// the guest's who first claims it, by looking for duplicates, by asking from it or
// by answering for it.
func (p *Port) discover(f *frame, m ndp.Message) {
	switch m := m.(type) {
	case *ndp.RouterAdvertisement:
		if !f.Out && (f.to(p.config.MAC) || f.to(allNodes)) {
			p.advertised(f, m)
		}
	case *ndp.NeighborSolicitation:
		switch detection := f.source().IsUnspecified(); {
		case f.Out && detection:
			p.probe(f, m.TargetAddress)
		case f.Out:
			p.claim6(f, f.source(), ND, false)
		case detection && !f.from(p.config.MAC): // and no echo of the guest's own
			p.objected(m.TargetAddress, f.now)
		}
	case *ndp.NeighborAdvertisement:
		switch {
		case f.Out:
			p.claim6(f, m.TargetAddress, ND, false)
			p.claim6(f, f.source(), ND, false)
		case f.to(allNodes):
			p.objected(m.TargetAddress, f.now)
		}
	}
}

// probe takes an address that the guest looks for duplicates of; it may be taken
// back for a moment.
func (p *Port) probe(f *frame, a netip.Addr) {
	_, had := p.leases[whole(a)]
	p.claim6(f, a, ND, true)
	if _, has := p.leases[whole(a)]; !has {
		return
	}
	latest := probe{Target: a.As16(), New: !had, At: f.now.UnixNano()}
	p.memory.probes = slices.DeleteFunc(p.memory.probes, func(earlier probe) bool {
		if earlier.Target != latest.Target {
			return false
		}
		latest.New = latest.New || earlier.New
		return true
	})
	p.memory.probes = bounded(append(p.memory.probes, latest), maxProbes)
}

// objected is told that somebody has, or just now wants, an address. If the guest
// is looking for duplicates of it and did not have it before, it is taken back.
func (p *Port) objected(a netip.Addr, now time.Time) {
	i := slices.IndexFunc(p.memory.probes, func(t probe) bool { return t.Target == a.As16() })
	if i < 0 || !p.memory.probes[i].New {
		return
	}
	p.memory.probes = slices.Delete(p.memory.probes, i, i+1)
	p.take(whole(a), ND, IPv6)
	p.memory.noteOther(a, now.Add(othersTime))
	p.notes.add("%s is somebody else's: the guest found a duplicate of it", a)
}

// noteOther remembers that somebody else has an address.
func (m *memory) noteOther(a netip.Addr, end time.Time) {
	m.others = slices.DeleteFunc(m.others, func(o other) bool { return o.Address == a.As16() })
	m.others = bounded(append(m.others, other{a.As16(), end.UnixNano()}), maxOthers)
}

func (m *memory) othersAddress(a netip.Addr) bool {
	return slices.ContainsFunc(m.others, func(o other) bool { return o.Address == a.As16() })
}
