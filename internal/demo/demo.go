// Package demo is `tapgate demo`: it builds the throw-away network of package
// lab, guards the guest's port with the example filters one after the other,
// tries with real clients what each should let through and what not, and
// reports which rule decided, as told by the port's counters.
//
// Whatever it makes has no name and no place: the namespaces and the bpffs
// live as long as the process, so that even a killed demo leaves nothing.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

// Options say how the demo is run.
type Options struct {
	// Out gets the table as it grows, nil for none.
	Out io.Writer
	// Color marks rows with colours, too.
	Color bool
	// Keep leaves everything running after the last attempt, until a line is
	// read from In or the context ends.
	Keep bool
	In   io.Reader
}

var errInterrupted = errors.New("interrupted; everything is removed")

// Run runs the demo. The report is complete if there is no error; whether all
// went as expected is up to Report.OK. When ctx ends, so does the demo, with
// everything removed.
func Run(ctx context.Context, o Options) (*Report, error) {
	out := o.Out
	if out == nil {
		out = io.Discard
	}
	d := &demo{report: &Report{Steps: []*Step{}}, print: &printer{w: out, color: o.Color}}
	// Also when something panics.
	defer d.close()
	if err := d.run(ctx, o); err != nil {
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, err
	}
	return d.report, nil
}

type demo struct {
	lab    *lab.Lab
	pins   *pins
	port   *port
	report *Report
	print  *printer
}

func (d *demo) run(ctx context.Context, o Options) error {
	started := time.Now()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	d.report.Times.SetUp = since(started)
	attempts := newAttempts(d.lab)
	d.print.introduce(d.lab, attempts)
	for _, step := range []func(context.Context, []attempt) error{
		d.unguarded, d.filterA, d.swapToB, d.filterB, d.filterC,
	} {
		if err := step(ctx, attempts); err != nil {
			return err
		}
	}
	if o.Keep {
		if err := d.keep(ctx, o.In); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		if err := d.released(ctx, attempts); err != nil {
			return err
		}
	}
	closing := time.Now()
	d.close()
	d.report.Times.CleanUp = since(closing)
	d.report.Times.Total = since(started)
	d.print.conclude(d.report)
	return nil
}

// setUp makes the network, its servers and the bpffs. The network does not end
// with ctx but by close, so that nothing is pulled away from under a call.
func (d *demo) setUp(ctx context.Context) error {
	var err error
	if d.lab, err = lab.New(context.WithoutCancel(ctx)); err != nil {
		return explain(err)
	}
	if err := d.lab.StartServers(); err != nil {
		return fmt.Errorf("start the demo's servers: %w", err)
	}
	if d.pins, err = newPins(); err != nil {
		return err
	}
	d.port, err = newPort(d.lab, d.pins.dir())
	return err
}

// explain makes a sentence of why there is no network.
func explain(err error) error {
	switch {
	case errors.Is(err, lab.ErrNeedsRoot):
		return fmt.Errorf("the demo %w", err)
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the demo needs a kernel with network namespaces, bridges and veth pairs (CONFIG_NET_NS, CONFIG_BRIDGE, CONFIG_VETH): %w", err)
	}
	return fmt.Errorf("make the demo's network: %w", err)
}

// close may be called more than once. The programs go with the device and the
// bpffs.
func (d *demo) close() {
	if d.lab != nil {
		d.lab.Close()
	}
	if d.port != nil {
		d.port.host.Close()
	}
	if d.pins != nil {
		d.pins.close()
		d.pins = nil
	}
}
