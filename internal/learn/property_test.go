package learn

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestMachine lets anything happen at a port and asks what holds after everything;
// a second machine is made anew from the first one's leases and memory now and
// then, and must do the same.
func TestMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := world{rt}
		c := w.config()
		p, twin := New(c, nil, nil), New(c, nil, nil)
		now := start
		operated := false
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			now = now.Add(w.pause())
			if !w.often("no operator") {
				w.operate([]*Port{p, twin}, now)
				operated = true
			}
			if !w.often("no restart") {
				twin = New(c, p.Leases(), p.Memory())
			}
			e := w.event()
			leases, memory := p.Leases(), p.Memory()
			got, again := p.Observe(e.frame, e.out, e.passed, now), twin.Observe(e.frame, e.out, e.passed, now)
			checkEvent(rt, got, leases, p.Leases(), memory, p.Memory())
			checkMachine(rt, p, c, now, operated)
			got.Notes, again.Notes = nil, nil
			if d := cmp.Diff(got, again) + cmp.Diff(p.Leases(), twin.Leases(), cmp.Comparer(sameLease)) + cmp.Diff(p.Memory(), twin.Memory()); d != "" {
				rt.Fatalf("the machine made anew does otherwise (-old +new):\n%s", d)
			}
		}
	})
}

func sameLease(a, b Lease) bool { return a == b }

// checkEvent asks whether an event tells what has changed.
func checkEvent(rt *rapid.T, e Event, before, after []Lease, memoryBefore, memoryAfter []byte) {
	set := func(list []Lease) (text string) {
		for _, l := range list {
			text += fmt.Sprint(l.Address, l.Source == Offer, " ")
		}
		return text
	}
	want := Event{Changed: set(before) != set(after), Renewed: !slices.Equal(before, after), Remembered: !bytes.Equal(memoryBefore, memoryAfter), Notes: e.Notes}
	if d := cmp.Diff(want, e); d != "" {
		rt.Fatalf("the event (-want +got):\n%s\nfrom %v\nto %v", d, before, after)
	}
	if e.Changed && !e.Renewed {
		rt.Fatalf("changed and not renewed")
	}
}

// checkMachine asks what always holds.
func checkMachine(rt *rapid.T, p *Port, c Config, now time.Time, operated bool) {
	leases := p.Leases()
	var count [2]int
	for _, l := range leases {
		family := 1
		if l.Is4() {
			family = 0
		}
		count[family]++
		switch {
		case l.Ended(now):
			rt.Fatalf("%+v has ended", l)
		case l.lasting():
		case c.Mode == None, !c.IPv4 && l.Is4(), !c.IPv6 && !l.Is4():
			rt.Fatalf("%+v is not wanted", l)
		case c.Mode == FromDHCP && l.claimed() && (l.Source != ND || l.global6()):
			rt.Fatalf("%+v is learned from a claim", l)
		case l.Is4() && !unicast4(l.Address.Addr()), !l.Is4() && !unicast6(l.Address.Addr()):
			rt.Fatalf("%+v is no guest's address", l)
		}
	}
	if max(count[0], count[1]) > MaxLeases || len(p.Memory()) > 4096 {
		rt.Fatalf("%d leases, %d bytes of memory", count, len(p.Memory()))
	}
	if c.Mode == Any && !operated && count[0] > 1 {
		rt.Fatalf("%d IPv4 addresses in the mode any", count[0])
	}
	if next := p.Next(); !next.IsZero() && !next.After(now) {
		rt.Fatalf("next is %s, now %s", next, now)
	}
	if Observes(c, leases)&0x7 == 0 && c.Mode == FromDHCP && c.IPv4 {
		rt.Fatalf("DHCP is not observed any more")
	}
}

// TestNothingIsLearnedUnasked is the mode dhcp: an address of a server's is one that
// the guest asked for, less than requestTime before, and nothing else teaches.
func TestNothingIsLearnedUnasked(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := world{rt}
		p := New(Config{MAC: guestMAC, Mode: FromDHCP, IPv4: true, IPv6: true}, nil, nil)
		now := start
		silent := rapid.Bool().Draw(rt, "a guest that never asks")
		var asked []event
		var when []time.Time
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			now = now.Add(w.pause())
			e := w.event()
			if e.asks && silent {
				continue
			}
			if e.asks && e.out && e.passed {
				asked, when = append(asked, e), append(when, now)
			}
			before := p.Leases()
			p.Observe(e.frame, e.out, e.passed, now)
			for _, l := range p.Leases() {
				if l.Source == ND && !l.global6() || slices.Contains(before, l) {
					continue
				}
				if !slices.ContainsFunc(asked, func(a event) bool {
					fresh := now.Sub(when[slices.IndexFunc(asked, func(b event) bool { return &a.frame[0] == &b.frame[0] })]) < requestTime
					v6 := a.frame[12] == 0x86
					return fresh && v6 == !l.Is4() && (v6 || a.asked == "" || a.asked == l.Text())
				}) {
					rt.Fatalf("%+v is learned, asked was %s", l, describe(asked))
				}
			}
		}
	})
}

func describe(asked []event) string {
	var list []string
	for _, e := range asked {
		list = append(list, fmt.Sprintf("%q", e.asked))
	}
	return strings.Join(list, ", ")
}

// TestOthersCannotMakeAPortLearn sends everything to the guest and as somebody else,
// whom the guest never answers.
func TestOthersCannotMakeAPortLearn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := world{rt}
		p := New(Config{MAC: guestMAC, Mode: rapid.SampledFrom([]Mode{Any, FromDHCP}).Draw(rt, "mode"), IPv4: true, IPv6: true}, nil, nil)
		now := start
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			now = now.Add(w.pause())
			e := w.event()
			if len(e.frame) >= 12 && bytes.Equal(e.frame[6:12], guestMAC) {
				if e.out {
					e.frame[11] ^= 7
				}
			}
			p.Observe(e.frame, e.out, e.passed, now)
			if l := p.Leases(); len(l) > 0 {
				rt.Fatalf("%+v is learned", l)
			}
		}
	})
}
