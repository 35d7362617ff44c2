package demo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"tapgate/internal/lab"
)

// swap puts a filter in the place of the one in force while frames that both
// should drop are sent as fast as possible, and pings that both should let
// out. An FTP session that began under the old one goes on under the new.
func (d *demo) swap(ctx context.Context, title string, to filter) error {
	session, noSession := lab.DialFTP(ctx, d.lab.Neighbour.Namespace, d.lab.Guest.At(lab.FTPPort))
	if noSession == nil {
		defer session.Close()
	}
	traffic, err := d.startTraffic(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = traffic.stop() }()
	underOld, err := d.observe(ctx, traffic)
	if err != nil {
		return err
	}
	step, err := d.guard(ctx, to)
	if err != nil {
		return err
	}
	underNew, err := d.observe(ctx, traffic)
	if err != nil {
		return err
	}
	if err := traffic.stop(); err != nil {
		return err
	}

	step.Title = title
	d.report.add(step)
	d.print.begin(len(d.report.Steps), step)
	for _, row := range traffic.rows() {
		for _, r := range [][2]reading{underOld, underNew} {
			row.DecidedBy = append(row.DecidedBy, decidedBy(r[0], r[1], out, row.Did, copies)...)
		}
		row.judge(true)
		d.finish(step, row)
	}
	again := attempt{
		direction: in, what: "ftp session from before the swap",
		probe: quiet(func(ctx context.Context) error {
			if noSession != nil {
				return noSession
			}
			return session.Retrieve(ctx, lab.ActivePORT)
		}),
	}
	row, err := d.attempt(ctx, &again, Works)
	if err != nil {
		return err
	}
	d.finish(step, row)
	d.print.end(step)
	return nil
}

// observe reads the counters before and after some of the traffic.
func (d *demo) observe(ctx context.Context, t *traffic) (r [2]reading, err error) {
	if r[0], err = d.port.read(ctx); err != nil {
		return r, err
	}
	if err = t.await(); err != nil {
		return r, err
	}
	r[1], err = d.port.read(ctx)
	return r, err
}

// traffic is what goes on while the filter is swapped.
type traffic struct {
	flood flood
	pings pings
	// ended is closed when the traffic ends, by stop or by a fault.
	ended <-chan struct{}
	// stop may be called more than once. What was sent stands when it returns.
	stop func() error
}

// startTraffic sends until stop is called.
func (d *demo) startTraffic(ctx context.Context) (*traffic, error) {
	guest, neighbour := d.lab.Guest, d.lab.Neighbour
	sender, err := guest.OpenFrames(lab.GuestDevice)
	if err != nil {
		return nil, err
	}
	receiver, err := neighbour.OpenFrames(lab.GuestDevice)
	if err != nil {
		sender.Close()
		return nil, err
	}
	all, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{
		ended: ctx.Done(),
		flood: flood{frame: craft(d.lab, fmt.Sprintf("udp GUEST:4000 > NEIGHBOUR:%d", lab.EchoPort)), batch: make(chan struct{})},
		pings: pings{batch: make(chan struct{})},
	}
	all.Go(func() error { return t.flood.send(ctx, sender) })
	all.Go(func() error { t.flood.look(ctx, receiver); return nil })
	all.Go(func() error { return t.pings.send(ctx, guest, neighbour) })
	t.stop = sync.OnceValue(func() error {
		cancel()
		defer sender.Close()
		defer receiver.Close()
		return all.Wait()
	})
	return t, nil
}

// await returns when a batch of each kind was sent from its beginning, or the
// traffic has ended.
func (t *traffic) await() error {
	for _, batch := range []chan struct{}{t.flood.batch, t.pings.batch} {
		// The first may have begun before.
		for range 2 {
			select {
			case <-batch:
			case <-t.ended:
				return cmp.Or(t.stop(), errors.New("the traffic ended by itself"))
			}
		}
	}
	return nil
}

// rows may be called after stop.
func (t *traffic) rows() []Row {
	flood := Row{Direction: out.String(), What: "a flood that both filters drop", Should: Blocked, Did: Blocked,
		Note: fmt.Sprintf("%d frames during the swap, none arrived", t.flood.sent)}
	if t.flood.arrived {
		flood.Did, flood.Note = Works, "a frame arrived"
	}
	pings := Row{Direction: out.String(), What: "ping, again and again", Should: Works, Did: Works,
		Note: fmt.Sprintf("%d during the swap, all answered", t.pings.sent)}
	if t.pings.lost > 0 {
		pings.Did, pings.Note = Blocked, fmt.Sprintf("%d of %d not answered", t.pings.lost, t.pings.sent)
	}
	return []Row{flood, pings}
}

// flood sends one frame at full rate.
type flood struct {
	frame   []byte
	sent    int
	arrived bool
	// batch takes a value when a batch is complete and somebody waits.
	batch chan struct{}
}

func (f *flood) send(ctx context.Context, sender *lab.FrameConn) error {
	const batch = 500
	for ctx.Err() == nil {
		if err := sender.Send(f.frame); err != nil {
			return err
		}
		if f.sent++; f.sent%batch == 0 {
			announce(f.batch)
		}
	}
	return nil
}

// look waits for a frame of the flood.
func (f *flood) look(ctx context.Context, receiver *lab.FrameConn) {
	_, err := receiver.Receive(ctx, func(got []byte) bool { return bytes.Equal(got, f.frame) })
	f.arrived = err == nil
}

// pings are sent one after the other.
type pings struct {
	sent, lost int
	batch      chan struct{}
}

func (p *pings) send(ctx context.Context, from, to *lab.Guest) error {
	for {
		err := lab.Ping(ctx, from.Namespace, to.IPv4)
		if ctx.Err() != nil {
			return nil
		}
		p.sent++
		switch outcomeOf(err) {
		case Works:
		case Blocked:
			p.lost++
		default:
			return err
		}
		if p.sent%copies == 0 {
			announce(p.batch)
		}
	}
}

// announce tells who waits, if anybody does.
func announce(batch chan<- struct{}) {
	select {
	case batch <- struct{}{}:
	default:
	}
}
