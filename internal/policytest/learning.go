package policytest

import (
	"fmt"
	"net"
	"slices"
	"time"

	"tapgate/internal/learn"
	"tapgate/internal/policy"
)

// learner is a port that learns its guest's addresses in a test, as the daemon does
// for a port, but without the milliseconds that take it to put a policy in force.
type learner struct {
	resolve func([]learn.Lease) (*policy.Policy, error)
	// first is the policy while nothing is known.
	first   *policy.Policy
	machine *learn.Port
}

// newLearner is nil for a binding that gives all addresses.
func newLearner(p *policy.Policy, resolve func([]learn.Lease) (*policy.Policy, error)) *learner {
	if p.Learning == nil {
		return nil
	}
	return &learner{resolve: resolve, first: p}
}

// clock is the wall clock of a test.
func clock(now int64) time.Time { return time.Unix(0, now).UTC() }

// forget begins anew: nothing is known of the guest.
func (r *run) forget() error {
	if r.learner == nil {
		return nil
	}
	r.learner.machine = learn.New(r.learner.first.Learning.Config, nil, nil)
	return r.usePolicy(r.learner.first)
}

// usePolicy puts another policy in force, with the connections that there are.
func (r *run) usePolicy(p *policy.Policy) error {
	if p == r.policy {
		return nil
	}
	r.policy, r.eval.policy = p, p
	if r.eval.eval != nil {
		r.eval.eval.SetPolicy(p)
	}
	if r.program == nil {
		return nil
	}
	r.program.policy = p
	return r.program.tester.Load(p, r.program.config)
}

// learned works the policy out again if what happened changes it.
func (r *run) learned(e learn.Event) (changed bool, err error) {
	if !e.Changed {
		return false, nil
	}
	p, err := r.learner.resolve(r.learner.machine.Leases())
	if err != nil {
		return false, fmt.Errorf("with what was learned the filters are refused: %w", err)
	}
	return true, r.usePolicy(p)
}

// observe tells the learner of a packet. It gives true for one that is to be judged
// again: the guest sent it, the policy dropped it, and another is in force now.
func (r *run) observe(p *Packet, result *packetResult, details *evalDetails) (again bool, err error) {
	out, passed := p.Dir == "out", result.eval.Verdict.Passes()
	mac := net.HardwareAddr(r.policy.Learning.Config.MAC)
	_, told := details.Packet.Observed(p.Frame, r.policy.Observe, mac, passed)
	if r.program != nil {
		copies, err := r.program.tester.Observed()
		if err != nil {
			return false, err
		}
		if want := map[bool]int{true: 1}[told]; len(copies) != want {
			return false, fmt.Errorf("the engines disagree: the program told %d times of a packet that it must tell %d times of", len(copies), want)
		}
	}
	if !told {
		return false, nil
	}
	changed, err := r.learned(r.learner.machine.Observe(p.Frame, out, passed, clock(r.now)))
	return changed && out && !passed, err
}

// checkLearned compares what is known after a packet with what must be.
func (r *run) checkLearned(p *Packet, result *packetResult) {
	if p.Learned == nil || result.fault != "" {
		return
	}
	var known []string
	if r.learner != nil {
		for _, l := range r.learner.machine.Leases() {
			known = append(known, l.Text())
		}
	}
	want := slices.Sorted(slices.Values(p.Learned))
	slices.Sort(known)
	if !slices.Equal(known, want) {
		result.fault = fmt.Sprintf("the addresses %q are known, expected %q", known, want)
	}
}
