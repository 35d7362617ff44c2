package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"tapgate/internal/lab"
)

// swap puts a filter in the place of the one in force while frames that both
// should drop are sent as fast as possible, and pings that both should let
// out. An FTP session that began under the old one goes on under the new.
func (d *demo) swap(ctx context.Context, title string, to filter) error {
	session, err := lab.DialFTP(ctx, d.lab.Neighbour.Namespace, d.lab.Guest.At(lab.FTPPort))
	if err != nil {
		return err
	}
	defer session.Close()

	traffic, err := d.startTraffic(ctx)
	if err != nil {
		return err
	}
	defer traffic.stop()
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
	traffic.stop()
	if err := traffic.err(); err != nil {
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
		probe: quiet(func(ctx context.Context) error { return session.Retrieve(ctx, lab.ActivePORT) }),
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
	if err = t.await(ctx); err != nil {
		return r, err
	}
	r[1], err = d.port.read(ctx)
	return r, err
}

// traffic is what goes on while the filter is swapped.
type traffic struct {
	stop    func()
	running sync.WaitGroup
	flood   flood
	pings   pings
}

// startTraffic sends until stop is called, which returns when all has ended.
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
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{
		flood: flood{frame: craft(d.lab, fmt.Sprintf("udp GUEST:4000 > NEIGHBOUR:%d", lab.EchoPort)), batch: make(chan struct{})},
		pings: pings{batch: make(chan struct{})},
	}
	t.running.Go(func() { t.flood.send(ctx, sender) })
	t.running.Go(func() { t.flood.look(ctx, receiver) })
	t.running.Go(func() { t.pings.send(ctx, guest, neighbour) })
	t.stop = sync.OnceFunc(func() {
		cancel()
		t.running.Wait()
		sender.Close()
		receiver.Close()
	})
	return t, nil
}

// await returns when a batch of each kind was sent from its beginning.
func (t *traffic) await(ctx context.Context) error {
	for _, batch := range []chan struct{}{t.flood.batch, t.pings.batch} {
		// The first may have begun before.
		for range 2 {
			select {
			case <-batch:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// err may be called, like rows, after stop.
func (t *traffic) err() error {
	if t.flood.err != nil {
		return t.flood.err
	}
	return t.pings.err
}

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
	err     error
	// batch takes a value when a batch is complete and somebody waits.
	batch chan struct{}
}

func (f *flood) send(ctx context.Context, sender *lab.FrameConn) {
	const batch = 500
	for ctx.Err() == nil && f.err == nil {
		f.err = sender.Send(f.frame)
		if f.sent++; f.sent%batch == 0 {
			announce(f.batch)
		}
	}
}

// look waits for a frame of the flood.
func (f *flood) look(ctx context.Context, receiver *lab.FrameConn) {
	_, err := receiver.Receive(ctx, func(got []byte) bool { return bytes.Equal(got, f.frame) })
	f.arrived = err == nil
}

// pings are sent one after the other.
type pings struct {
	sent, lost int
	err        error
	batch      chan struct{}
}

func (p *pings) send(ctx context.Context, from, to *lab.Guest) {
	for ctx.Err() == nil && p.err == nil {
		err := lab.Ping(ctx, from.Namespace, to.IPv4)
		if ctx.Err() != nil {
			return
		}
		p.sent++
		switch outcomeOf(err) {
		case Works:
		case Blocked:
			p.lost++
		default:
			p.err = err
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
