package datapath

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// observer is a reader of a host's observations.
type observer struct {
	t    *testing.T
	list chan Observation
	stop func()
}

// observe begins to read; it ends with the test, or by stop.
func (l *live) observe(t *testing.T, h *Host) *observer {
	ctx, cancel := context.WithCancel(t.Context())
	o := &observer{t: t, list: make(chan Observation, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := l.Lab.Host.Do(func() error {
			for one, err := range h.Observe(ctx) {
				if err != nil {
					return err
				}
				o.list <- one
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}()
	o.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(o.stop)
	return o
}

// next waits for an observation.
func (o *observer) next() Observation {
	o.t.Helper()
	select {
	case one := <-o.list:
		return one
	case <-time.After(5 * time.Second):
		o.t.Fatal("nothing was observed")
	}
	return Observation{}
}

// sees waits for a frame, and checks what is told with it.
func (o *observer) sees(port string, frame []byte, out, passed bool) {
	o.t.Helper()
	one := o.next()
	if one.Port != port || one.Out != out || one.Passed != passed || !bytes.Equal(one.Frame, frame) || one.Length != len(frame) {
		o.t.Errorf("observed %+v\nwant %x at %s, out %v, passed %v", one, frame, port, out, passed)
	}
	if age := time.Since(one.Time); age < 0 || age > time.Minute {
		o.t.Errorf("observed %s ago", age)
	}
}

// oneExchange makes the same frame each time.
var oneExchange = dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})

func (l *live) discover() []byte {
	return lab.DHCPRequest(l.Guest.MAC, dhcpv4.MessageTypeDiscover, oneExchange)
}

// offer is broadcast, so that the guest, which has no client, does not answer.
func (l *live) offer() []byte {
	return lab.DHCPReply(l.Neighbour.MAC, l.Neighbour.IPv4, l.Guest.MAC, dhcpv4.MessageTypeOffer, l.Guest.IPv4, time.Hour, oneExchange)
}

// observedPolicy lets DHCP through and nothing else.
func observedPolicy(t *testing.T, wanted packet.Observe) *policy.Policy {
	return resolveObserved(t, `<filter name="learning">
  <rule action="accept" direction="out" statematch="false"><udp dstportstart="67"/></rule>
  <rule action="accept" direction="in" statematch="false"><udp srcportstart="67"/></rule>
  <rule action="drop" direction="inout" priority="900"><all/></rule>
  <rule action="drop" direction="inout" priority="900"><arp/></rule>
  <rule action="drop" direction="inout" priority="900"><vlan/></rule>
</filter>`, wanted)
}

func (l *live) send(from *lab.Guest, frames ...[]byte) {
	l.t.Helper()
	conn, err := from.OpenFrames(lab.GuestDevice)
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	for _, frame := range frames {
		if err := conn.Send(frame); err != nil {
			l.t.Fatal(err)
		}
	}
}

func TestFramesAreObserved(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			o := l.observe(t, l.host)
			port := l.Guest.Port
			l.guard(port, observedPolicy(t, observeAll))
			discover, offer, arp := l.discover(), l.offer(), l.arp(20)
			l.send(l.Guest, discover)
			o.sees(port, discover, true, true)
			l.send(l.Neighbour, offer)
			o.sees(port, offer, false, true)
			l.send(l.Guest, arp)
			o.sees(port, arp, true, false)
			// The kernel takes the tag out of the frame before the program sees it.
			plain := l.udp(9, "tagged")
			tagged := slices.Concat(plain[:12], []byte{0x81, 0, 0, 7}, plain[12:])
			l.send(l.Guest, tagged)
			o.sees(port, tagged, true, false)

			want := Observed{In: ObservedCounts{Told: 1}, Out: ObservedCounts{Told: 1}, Claims: ObservedCounts{Told: 2}}
			if got := l.stats(port).Observed; got != want {
				t.Errorf("counted %+v, want %+v", got, want)
			}
			// The counts stay when nothing is to be observed any more.
			l.guard(port, observedPolicy(t, 0))
			l.send(l.Guest, discover, arp)
			if got := l.port(port).Observed; got != want {
				t.Errorf("counted %+v afterwards, want %+v", got, want)
			}
			l.guard(port, observedPolicy(t, packet.ObserveClaim4))
			l.send(l.Guest, discover, arp)
			o.sees(port, arp, true, false)

			l.release(port)
			o.stop()
			l.empty()
		})
	}
}

// A tap whose frames are in page fragments, and one that is longer than what is
// copied.
func TestFramesInFragmentsAreObserved(t *testing.T) {
	l := newLive(t, TCX)
	o := l.observe(t, l.host)
	tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0", Fragments: true})
	if err != nil {
		t.Fatal(err)
	}
	l.guard(tap.Name, observedPolicy(t, observeAll))
	discover := l.discover()
	if err := tap.Send(discover[:14], discover[14:100], discover[100:]); err != nil {
		t.Fatal(err)
	}
	o.sees(tap.Name, discover, true, true)
	long := l.udp(9, string(make([]byte, 3000)))
	if err := tap.Send(long[:14], long[14:]); err != nil {
		t.Fatal(err)
	}
	if one := o.next(); one.Length != len(long) || !bytes.Equal(one.Frame, long[:2048]) {
		t.Errorf("observed %d bytes of %d, want 2048 of %d", len(one.Frame), one.Length, len(long))
	}
}

// What comes while nobody reads is told to who reads next, with its time.
func TestObservationsOutliveTheirReader(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	first := l.observe(t, l.host)
	l.guard(port, observedPolicy(t, observeAll))
	discover, offer, arp := l.discover(), l.offer(), l.arp(20)
	l.send(l.Guest, discover)
	first.sees(port, discover, true, true)
	first.stop()

	l.send(l.Guest, arp)
	l.send(l.Neighbour, offer)
	time.Sleep(300 * time.Millisecond) // an age that is to be seen
	other := openHost(t, l.host.dir, TCX)
	defer other.Close()
	second := l.observe(t, other)
	one := second.next()
	if age := time.Since(one.Time); !bytes.Equal(one.Frame, arp) || age < 300*time.Millisecond || age > 5*time.Second {
		t.Errorf("observed %+v, %s ago", one, age)
	}
	second.sees(port, offer, false, true)

	// What was left of a port that is gone is not told.
	second.stop()
	l.send(l.Guest, discover)
	l.guard(l.Neighbour.Port, observedPolicy(t, observeAll))
	l.release(port)
	third := l.observe(t, other)
	l.send(l.Neighbour, arp) // the policy takes it for the guest
	if one := third.next(); one.Port != l.Neighbour.Port {
		t.Errorf("observed %+v", one)
	}
}

// The name is that of the port at the moment, however shortly it has it.
func TestObservationsNameTheirPort(t *testing.T) {
	l := newLive(t, TCX)
	o := l.observe(t, l.host)
	links := l.Lab.Host.Links()
	taps := map[string]*lab.Tap{}
	for _, name := range []string{"tap0", "tap1"} {
		tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		taps[name] = tap
		// Another process guards it.
		other := openHost(t, l.host.dir, TCX)
		l.in(func() error {
			_, err := other.Guard(t.Context(), name, observedPolicy(t, observeAll), Meta{})
			return err
		})
		other.Close()
		if err := tap.Send(l.discover()); err != nil {
			t.Fatal(err)
		}
		o.sees(name, l.discover(), true, true)
	}
	rename := func(from, to string) {
		t.Helper()
		dev, err := links.LinkByName(from)
		if err == nil {
			err = links.LinkSetDown(dev)
		}
		if err == nil {
			err = links.LinkSetName(dev, to)
		}
		if err == nil {
			err = links.LinkSetUp(dev)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rename("tap0", "tap9")
	rename("tap1", "tap0")
	rename("tap9", "tap1")
	l.in(func() error {
		devices, err := device.List()
		if err != nil {
			return err
		}
		_, err = l.host.Follow(t.Context(), devices)
		return err
	})
	for was, now := range map[string]string{"tap0": "tap1", "tap1": "tap0"} {
		if err := taps[was].Send(l.discover()); err != nil {
			t.Fatal(err)
		}
		o.sees(now, l.discover(), true, true)
	}
}

// A guest that sends 100,000 requests a second costs what 10 a second cost, and
// takes nothing from others.
func TestAFloodIsObservedWithinLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	l := newLive(t, TCX)
	for _, port := range []string{l.Guest.Port, l.Neighbour.Port} {
		l.guard(port, observedPolicy(t, observeAll))
	}
	const duration = 3 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	type result struct {
		rate float64
		err  error
	}
	flood := make(chan result, 1)
	go func() {
		rate, err := lab.DHCPFlood(l.Guest).Run(ctx, 100_000)
		flood <- result{rate, err}
	}()
	read := map[string]uint64{}
	var used time.Duration
	done := make(chan error, 1)
	go func() {
		done <- l.Lab.Host.Do(func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before := threadTime()
			for one, err := range l.host.Observe(ctx) {
				if err != nil {
					return err
				}
				read[one.Port]++
			}
			used = threadTime() - before
			return nil
		})
	}()
	for l.stats(l.Guest.Port).Observed.Out.Limited < 10_000 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	l.send(l.Neighbour, l.arp(20))
	sent := <-flood
	if err := <-done; err != nil || sent.err != nil {
		t.Fatal(err, sent.err)
	}
	counted := l.stats(l.Guest.Port).Observed.Out
	t.Logf("%.0f requests a second: %d told, %d limited, %d lost; the reader used %s in %s", sent.rate, counted.Told, counted.Limited, counted.Lost, used, duration)
	if most := uint64(50 + 10*duration.Seconds() + 10); counted.Told > most || counted.Told < 50 || counted.Limited < 1000 || counted.Lost != 0 {
		t.Errorf("counted %+v, want at most %d told", counted, most)
	}
	if read[l.Neighbour.Port] != 1 || read[l.Guest.Port] > counted.Told || read[l.Guest.Port] < counted.Told-2 {
		t.Errorf("read %v", read)
	}
	if used > duration/50 {
		t.Errorf("the reader used %s of %s", used, duration)
	}
}

// threadTime is the CPU time that the thread has used.
func threadTime() time.Duration {
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestMemory(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	recalls := func(h *Host, want []byte) {
		t.Helper()
		if got, err := h.Recall(port); err != nil || !bytes.Equal(got, want) {
			t.Errorf("recalled %q, %v, want %q", got, err, want)
		}
	}
	if err := l.host.Remember(port, []byte("x")); err == nil {
		t.Error("remembered something of a port that is not guarded")
	}
	l.guard(port, observedPolicy(t, observeAll))
	recalls(l.host, nil)
	for _, memory := range [][]byte{[]byte("prefix fd00::/64"), {0}, bytes.Repeat([]byte{7}, MaxMemory), []byte("a")} {
		if err := l.host.Remember(port, memory); err != nil {
			t.Fatal(err)
		}
		recalls(l.host, memory)
	}
	if err := l.host.Remember(port, make([]byte, MaxMemory+1)); err == nil {
		t.Error("remembered more than there is room for")
	}
	l.guard(port, resolve(t, dropAll))
	other := openHost(t, l.host.dir, TCX)
	defer other.Close()
	l.in(func() error {
		_, err := other.Repair(t.Context())
		return err
	})
	recalls(other, []byte("a"))
	number := l.binding(port).Number

	l.guard(l.Neighbour.Port, resolve(t, dropAll)) // keeps what all ports share
	l.release(port)
	l.guard(port, resolve(t, dropAll))
	recalls(l.host, nil)
	// What comes too late goes with the next repair.
	if err := l.host.remember(number, []byte("late")); err != nil {
		t.Fatal(err)
	}
	if err := l.host.Remember(port, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	l.in(func() error {
		_, err := l.host.Repair(t.Context())
		return err
	})
	m, err := l.host.openMemories()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if value, err := m.LookupBytes(number); err != nil || value != nil {
		t.Errorf("of a port that is gone is remembered %q, %v", value, err)
	}
	recalls(l.host, []byte("kept"))
	if err := l.host.Remember(port, nil); err != nil {
		t.Fatal(err)
	}
	recalls(l.host, nil)
	l.release(port)
	l.release(l.Neighbour.Port)
	l.empty()
}

// What the caller of Guard says of learning is pinned, and listed.
func TestLearningIsListed(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	want := &Learning{Mode: "dhcp", Wants: []string{"IP"}, Waiting: []string{"IP"}, Offered: true}
	l.in(func() error {
		_, err := l.host.Guard(t.Context(), port, observedPolicy(t, observeAll), Meta{Learning: want})
		return err
	})
	p := l.port(port)
	if got := p.Learning; got == nil || got.Mode != want.Mode || !slices.Equal(got.Wants, want.Wants) || !slices.Equal(got.Waiting, want.Waiting) || !got.Offered {
		t.Errorf("listed %+v", got)
	}
	if p.Number == 0 || p.Number != l.binding(port).Number {
		t.Errorf("listed with the number %d", p.Number)
	}
}

// A version before this one has no tables of observation.
func TestASkeletonWithoutObservation(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropAll))
	dir := filepath.Join(l.host.dir, l.binding(port).Skeleton)
	for _, name := range []string{observedMap, "observation"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	other := &live{l.Lab, openHost(t, l.host.dir, TCX), t}
	defer other.host.Close()
	if s := other.stats(port); s.State != Guarded || s.Observed != (Observed{}) {
		t.Errorf("stats %+v", s)
	}
	c, err := other.host.common(l.binding(port).Skeleton)
	if err != nil {
		t.Fatal(err)
	}
	number := l.binding(port).Number
	other.release(port)
	if left := c.slots.of(number); len(left) != 0 {
		t.Errorf("the port has left its slots %v", left)
	}
	c.close()
	other.empty()
}
