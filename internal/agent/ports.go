package agent

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/store"
	"tapgate/internal/verdict"
	"tapgate/nwfilter/binding"
)

// States of ports that are bound and of which the datapath knows nothing.
const (
	// Waiting: there is no such device yet.
	Waiting datapath.State = "waiting"
	// NotGuarded: the device is there, as after a restart of the host without a
	// daemon.
	NotGuarded datapath.State = "not guarded"
)

// LearningState: no address of the guest is known that the policy needs, and nothing
// passes meanwhile but what teaches them.
const LearningState datapath.State = "learning"

// stateOf is the state of a port, for people.
func stateOf(s datapath.State, l *datapath.Learning) datapath.State {
	if s == datapath.Guarded && l != nil && l.Restricted {
		return LearningState
	}
	return s
}

// Bindings are the stored bindings by port.
func (a *Agent) Bindings(ctx context.Context) (list []*binding.Binding, faults []error, err error) {
	err = a.store.View(ctx, func(v *store.View) (err error) {
		list, faults, err = v.Bindings()
		return err
	})
	return list, faults, err
}

// Ports are all ports that are bound or guarded, by name.
func (a *Agent) Ports(ctx context.Context) (list []Port, faults []error, err error) {
	d, err := a.open()
	if err != nil {
		return nil, nil, err
	}
	var bindings []*binding.Binding
	var leases []Lease
	err = a.store.View(ctx, func(v *store.View) error {
		if bindings, faults, err = v.Bindings(); err != nil {
			return err
		}
		var unread []error
		leases, unread = a.showLeases(v, bindings)
		faults = append(faults, unread...)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	standing, err := d.Ports(ctx)
	if err != nil {
		return nil, nil, err
	}
	devices, err := a.devices()
	if err != nil {
		return nil, nil, err
	}
	at := map[string]int{}
	for i := range standing {
		at[standing[i].Name] = len(list)
		list = append(list, a.showPort(&standing[i]))
	}
	for _, b := range bindings {
		i, ok := at[b.Port]
		if !ok {
			state := Waiting
			if _, there := devices[b.Port]; there {
				state = NotGuarded
			}
			i, list = len(list), append(list, a.showPort(&datapath.Port{Name: b.Port, State: state}))
		}
		p := &list[i]
		p.Bound, p.Default = true, false
		if p.Filter == "" {
			p.describe(b)
		}
		if _, there := devices[b.Port]; !there && p.State == datapath.DeviceGone {
			p.State = Waiting
		}
	}
	slices.SortFunc(list, func(a, b Port) int { return cmp.Compare(a.Name, b.Name) })
	addresses := addressesInUse(leases)
	for i := range list {
		list[i].Addresses = addresses[list[i].Name]
	}
	return list, faults, nil
}

// addressesInUse are those of leases by port.
func addressesInUse(leases []Lease) map[string][]string {
	in := map[string][]string{}
	for i := range leases {
		if l := &leases[i]; l.InUse {
			in[l.Port] = append(in[l.Port], l.Text())
		}
	}
	return in
}

// describe fills in what a port should enforce.
func (p *Port) describe(b *binding.Binding) {
	p.Filter, p.MAC, p.Parameters = b.Filter, b.MAC.String(), map[string][]string{}
	for _, param := range b.Parameters {
		p.Parameters[param.Name] = append(p.Parameters[param.Name], param.Value)
	}
}

func (a *Agent) showPort(p *datapath.Port) Port {
	shown := Port{
		Port: *p, In: showTotals(&p.In), Out: showTotals(&p.Out), Settings: p.Settings.Set(),
		Default: a.defaultFilter().covers(p.Name), Fault: a.fault(p.Name),
	}
	shown.State = stateOf(p.State, p.Learning)
	return shown
}

func showTotals(t *datapath.Totals) Totals {
	shown := Totals{Passed: t.Passed, Dropped: t.Dropped, DroppedFor: map[string]uint64{}, InvalidFor: map[string]uint64{}}
	for reason, n := range t.Reasons {
		if n > 0 {
			shown.DroppedFor[verdict.Reason(reason).String()] = n
		}
	}
	for why, n := range t.Invalid {
		if n > 0 {
			shown.InvalidFor[packet.Invalid(why).String()] = n
		}
	}
	return shown
}

// Stats are the counters of a port.
func (a *Agent) Stats(ctx context.Context, port string) (*Stats, error) {
	d, err := a.open()
	if err != nil {
		return nil, err
	}
	s, err := d.Stats(ctx, port)
	if err != nil {
		return nil, err
	}
	shown := &Stats{
		Port: a.showPort(&s.Port), Clauses: s.Clauses, Refused: s.Refused, GivenUp: s.GivenUp, Expired: s.Expired,
		Quota: s.Quota, Table: s.Table, InAnswers: s.InAnswers, OutAnswers: s.OutAnswers,
	}
	err = a.store.View(ctx, func(v *store.View) error {
		_, err := v.Binding(port)
		shown.Bound = !isNotFound(err)
		return nil
	})
	if shown.Default = shown.Default && !shown.Bound; err != nil || !shown.Bound {
		return shown, err
	}
	if leases, _, err := a.Leases(ctx, port); err == nil {
		shown.Addresses = addressesInUse(leases)[port]
	}
	return shown, nil
}

// Connections are those of a port, in no order.
func (a *Agent) Connections(ctx context.Context, port string) iter.Seq2[*datapath.Connection, error] {
	d, err := a.open()
	if err != nil {
		return failed[*datapath.Connection](err)
	}
	return d.Connections(ctx, port)
}

// Expectations are what the helpers of a port wait for.
func (a *Agent) Expectations(ctx context.Context, port string) iter.Seq2[*datapath.Expectation, error] {
	d, err := a.open()
	if err != nil {
		return failed[*datapath.Expectation](err)
	}
	return d.Expectations(ctx, port)
}

// failed yields nothing but an error.
func failed[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var nothing T
		yield(nothing, err)
	}
}

// Flush ends the connections of a port that match accepts, all if it is nil.
func (a *Agent) Flush(ctx context.Context, port string, match func(*datapath.Connection) bool) (int, error) {
	d, err := a.open()
	if err != nil {
		return 0, err
	}
	return d.Flush(ctx, port, match)
}

// RefreshSets brings the kernel sets of a port up to date, those of all for "".
func (a *Agent) RefreshSets(ctx context.Context, port string) ([]datapath.SetChange, error) {
	d, err := a.open()
	if err != nil {
		return nil, err
	}
	return d.RefreshSets(ctx, port)
}

// Watch tells what happens to packets until ctx ends.
func (a *Agent) Watch(ctx context.Context, options datapath.WatchOptions) iter.Seq2[datapath.Notice, error] {
	d, err := a.open()
	if err != nil {
		return failed[datapath.Notice](err)
	}
	return d.Watch(ctx, options)
}

// History is what the journal says, oldest first.
func (a *Agent) History(ctx context.Context) (entries []store.Entry, faults []error, err error) {
	err = a.store.View(ctx, func(v *store.View) (err error) {
		entries, faults, err = v.History()
		return err
	})
	return entries, faults, err
}
