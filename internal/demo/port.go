package demo

import (
	"context"
	"errors"
	"time"

	"tapgate/internal/datapath"
	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

// port is the guest's port with what guards it.
type port struct {
	lab  *lab.Lab
	host *datapath.Host
	// policy in force, nil without one.
	policy *policy.Policy
}

func newPort(l *lab.Lab, dir string) (*port, error) {
	host, err := datapath.Open(datapath.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return &port{lab: l, host: host}, nil
}

// guard puts a filter in force, in the place of the one before.
func (p *port) guard(ctx context.Context, f filter) (change datapath.Change, err error) {
	next, err := f.policy(p.lab.Guest)
	if err != nil {
		return change, err
	}
	meta := datapath.Meta{Parameters: map[string][]string{"IP": {p.lab.Guest.IPv4.String()}}, BoundAt: time.Now()}
	err = p.lab.Host.Do(func() error {
		change, err = p.host.Guard(ctx, p.lab.Guest.Port, next, meta)
		return err
	})
	if err == nil {
		p.policy = next
	}
	return change, err
}

// release takes the filter off.
func (p *port) release(ctx context.Context) error {
	err := p.lab.Host.Do(func() error { return p.host.Release(ctx, p.lab.Guest.Port) })
	if err == nil {
		p.policy = nil
	}
	return err
}

// reading is what the counters say at one moment.
type reading struct {
	// policy under which was counted, nil if the port was not guarded.
	policy *policy.Policy
	stats  *datapath.Stats
}

func (p *port) read(ctx context.Context) (r reading, err error) {
	if p.policy == nil {
		return reading{}, nil
	}
	r.policy = p.policy
	err = p.lab.Host.Do(func() error {
		r.stats, err = p.host.Stats(ctx, p.lab.Guest.Port)
		return err
	})
	if err == nil && len(r.stats.Clauses) != len(r.policy.Clauses) {
		err = errors.New("the port's counters are not those of the filter in force")
	}
	return r, err
}

const (
	// Packets that end an exchange, such as the last of a TCP connection, follow
	// within settleStep.
	settleStep = 5 * time.Millisecond
	settleMost = 200 * time.Millisecond
)

// settled reads the counters when they stand still, so that a packet is put
// down to the attempt that it belongs to.
func (p *port) settled(ctx context.Context) (reading, error) {
	last, err := p.read(ctx)
	if err != nil || p.policy == nil {
		return last, err
	}
	tick := time.NewTicker(settleStep)
	defer tick.Stop()
	for range settleMost / settleStep {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-tick.C:
		}
		next, err := p.read(ctx)
		if err != nil {
			return last, err
		}
		if next.stats.In == last.stats.In && next.stats.Out == last.stats.Out {
			return next, nil
		}
		last = next
	}
	return last, nil
}
