package learn

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"time"

	"tapgate/internal/packet"
)

// Port finds out the addresses of the guest behind one port. It knows no clock:
// what happens when is told by who calls. It is not safe for concurrent use.
type Port struct {
	config Config
	leases map[netip.Prefix]Lease
	memory memory
	notes  notes
}

// Event is what a frame, the time or an operator has changed.
type Event struct {
	// Changed says that the set of addresses is another, or that one became or
	// ceased to be merely offered: the policy must be worked out again.
	Changed bool
	// Renewed says that leases differ in anything, also whenever Changed does: they
	// must be stored.
	Renewed bool
	// Remembered says that Memory differs.
	Remembered bool
	// Notes are sentences for the log, about what teaches nothing and why. The same
	// one comes at most once in 10 seconds, and few of them.
	Notes []string
}

// New is the machine of a port which had these leases, and for which Memory gave
// memory; nil, or what cannot be read, stands for no memory. Leases that have
// ended are taken back by the next call that tells the time.
func New(c Config, leases []Lease, memory []byte) *Port {
	p := &Port{config: c, leases: map[netip.Prefix]Lease{}}
	if m, before, ok := readMemory(memory); ok {
		p.memory = m
		p.config.MAC, p.config.Mode = before.MAC, before.Mode
	}
	for _, l := range leases {
		if l.Address.IsValid() {
			l.Learned, l.Renewed, l.End = plain(l.Learned), plain(l.Renewed), plain(l.End)
			p.leases[l.Address] = l
		}
	}
	p.Configure(c)
	return p
}

// plain is the time in the one form in which times of leases are kept, so that
// leases can be compared with ==.
func plain(t time.Time) time.Time { return t.Round(0).UTC() }

// Configure changes what is to be learned. Leases stay that could have been
// learned so, and those of operators. A changed MAC address is another guest's.
func (p *Port) Configure(c Config) {
	before := p.config
	if !bytes.Equal(before.MAC, c.MAC) {
		p.memory = memory{}
		maps.DeleteFunc(p.leases, func(_ netip.Prefix, l Lease) bool { return !l.lasting() })
	}
	maps.DeleteFunc(p.leases, func(_ netip.Prefix, l Lease) bool { return !c.wants(&l, before.Mode) })
	p.config = c
	p.config.MAC = bytes.Clone(c.MAC)
	p.config.Servers = nil
	for _, s := range c.Servers {
		p.config.Servers = append(p.config.Servers, s.Unmap().WithZone(""))
	}
}

// Observe is told a whole Ethernet frame, its 802.1Q tag in place: whether the
// guest sent it (out), and whether it passed the policy. What did not reach the
// guest, and what does not come from its MAC address, teaches nothing.
func (p *Port) Observe(raw []byte, out, passed bool, now time.Time) Event {
	return p.change(now, func(now time.Time) {
		if p.config.Mode == None || len(p.config.MAC) != 6 {
			return
		}
		f := decode(raw, out, passed, now)
		if out && !f.from(p.config.MAC) || !out && !passed {
			return
		}
		switch {
		case f.Have&packet.HaveIPv6 != 0:
			p.observe6(&f)
		default:
			p.observe4(&f)
		}
	})
}

// Expire takes back the leases that have ended.
func (p *Port) Expire(now time.Time) Event { return p.change(now, func(time.Time) {}) }

// Next is when Expire has something to do; zero for never.
func (p *Port) Next() time.Time {
	var next time.Time
	for _, l := range p.leases {
		if !l.Pinned && !l.End.IsZero() && (next.IsZero() || l.End.Before(next)) {
			next = l.End
		}
	}
	return next
}

// Has tells whether there is a lease of a whole address.
func (p *Port) Has(a netip.Addr) bool { _, ok := p.leases[whole(a)]; return ok }

// Leases is a copy of all leases, sorted by address.
func (p *Port) Leases() []Lease {
	return slices.SortedFunc(maps.Values(p.leases), func(a, b Lease) int { return a.Address.Compare(b.Address) })
}

// change does something at a time and tells what that has changed.
func (p *Port) change(now time.Time, do func(now time.Time)) Event {
	now = plain(now)
	leases, remembered := maps.Clone(p.leases), p.Memory()
	p.notes.begin(now)
	maps.DeleteFunc(p.leases, func(_ netip.Prefix, l Lease) bool { return l.Ended(now) })
	p.memory.forget(now)
	do(now)
	return Event{
		Changed:    !maps.EqualFunc(leases, p.leases, func(a, b Lease) bool { return (a.Source == Offer) == (b.Source == Offer) }),
		Renewed:    !maps.Equal(leases, p.leases),
		Remembered: !bytes.Equal(remembered, p.Memory()),
		Notes:      p.notes.end(),
	}
}
