package demo

import (
	"context"
	"fmt"
	"time"

	"tapgate/internal/lab"
)

// expect is what should become of an attempt in a step; empty: it is not tried.
type expect func(*attempt) Outcome

func withoutFilter(a *attempt) Outcome { return a.open }
func withServices(a *attempt) Outcome  { return a.services }
func withPing(a *attempt) Outcome      { return a.ping }

// unguarded shows that everything is there and answers, so that what is
// blocked later is so by the filter.
func (d *demo) unguarded(ctx context.Context, attempts []attempt) error {
	return d.step(ctx, &Step{Title: "Without a filter everything gets through"}, attempts, withoutFilter)
}

func (d *demo) filterA(ctx context.Context, attempts []attempt) error {
	step, err := d.guard(ctx, filterA)
	if err != nil {
		return err
	}
	return d.step(ctx, step, attempts, withServices)
}

func (d *demo) swapToB(ctx context.Context, _ []attempt) error {
	return d.swap(ctx, "From A to B without a gap", filterB)
}

// filterB comes after swapToB.
func (d *demo) filterB(ctx context.Context, attempts []attempt) error {
	return d.step(ctx, &Step{Title: titleOf(filterB), File: filterB.file}, attempts, withServices)
}

func (d *demo) filterC(ctx context.Context, attempts []attempt) error {
	step, err := d.guard(ctx, filterC)
	if err != nil {
		return err
	}
	return d.step(ctx, step, attempts, withPing)
}

// released shows that nothing of the filters is left on the port.
func (d *demo) released(ctx context.Context, attempts []attempt) error {
	started := time.Now()
	if err := d.port.release(ctx); err != nil {
		return err
	}
	d.report.Times.Programs += since(started)
	return d.step(ctx, &Step{Title: "Released: everything gets through again"}, attempts, withoutFilter)
}

func titleOf(f filter) string { return fmt.Sprintf("Filter %s, %s", f.letter, f.file) }

// guard puts a filter in force and begins a step with it.
func (d *demo) guard(ctx context.Context, f filter) (*Step, error) {
	started := time.Now()
	change, err := d.port.guard(ctx, f)
	if err != nil {
		return nil, err
	}
	took := since(started)
	d.report.Times.Programs += took
	return &Step{Title: titleOf(f), File: f.file, Mechanism: string(change.Mechanism), InForceAfter: took}, nil
}

// step tries everything that is to be tried in it.
func (d *demo) step(ctx context.Context, step *Step, attempts []attempt, should expect) error {
	// The guests look for each other's MAC addresses again, so that a filter that
	// stops ARP is noticed.
	for _, guest := range []*lab.Guest{d.lab.Guest, d.lab.Neighbour} {
		if err := guest.FlushNeighbours(); err != nil {
			return err
		}
	}
	d.report.add(step)
	d.print.begin(len(d.report.Steps), step)
	for i := range attempts {
		want := should(&attempts[i])
		if want == "" {
			continue
		}
		row, err := d.attempt(ctx, &attempts[i], want)
		if err != nil {
			return err
		}
		d.finish(step, row)
	}
	d.print.end(step)
	return nil
}

func (d *demo) finish(step *Step, row Row) {
	d.report.count(step, row)
	d.print.row(step, row)
}

// attempt tries one thing. Its error is the demo's end.
func (d *demo) attempt(ctx context.Context, a *attempt, should Outcome) (Row, error) {
	before, err := d.port.settled(ctx)
	if err != nil {
		return Row{}, err
	}
	started := time.Now()
	note, tried := a.run(ctx, should)
	if ctx.Err() != nil {
		return Row{}, ctx.Err()
	}
	if took := since(started); should == Blocked {
		d.report.Times.Silence += took
	} else {
		d.report.Times.Answers += took
	}
	after, err := d.port.settled(ctx)
	if err != nil {
		return Row{}, err
	}
	row := Row{Direction: a.direction.String(), What: a.what, Should: should, Did: outcomeOf(tried)}
	row.DecidedBy = decidedBy(before, after, a.direction, row.Did, a.least)
	if tried == nil {
		row.Note = note
	} else if row.Did != should {
		row.Error = tried.Error()
	}
	row.judge(after.policy != nil)
	return row, nil
}

// judge tells whether the row is as expected. What is blocked on a guarded
// port must have been dropped there, or it would prove nothing.
func (r *Row) judge(guarded bool) {
	r.OK = r.Did == r.Should
	if guarded && r.Did == Blocked && len(r.DecidedBy) == 0 {
		r.OK, r.Error = false, "the port dropped nothing: something else was in the way"
	}
}
