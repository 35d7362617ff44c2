package eval

import (
	"fmt"
	"time"

	"tapgate/internal/learn"
	"tapgate/internal/policy"
)

// Learner is the port of a guest whose addresses are learned: it works the policy
// out again when packets have taught something, as the daemon does, but without the
// milliseconds that this takes there.
type Learner struct {
	resolve func([]learn.Lease) (*policy.Policy, error)
	first   *policy.Policy
	machine *learn.Port
	policy  *policy.Policy
}

// NewLearner begins with a policy in which nothing is known, and works others out by
// resolve. It is nil for a policy in which nothing is to be learned.
func NewLearner(first *policy.Policy, resolve func([]learn.Lease) (*policy.Policy, error)) *Learner {
	if first.Learning == nil {
		return nil
	}
	l := &Learner{resolve: resolve, first: first}
	l.Reset()
	return l
}

// Reset forgets everything.
func (l *Learner) Reset() {
	l.machine, l.policy = learn.New(l.first.Learning.Config, nil, nil), l.first
}

// Policy is the one to be in force.
func (l *Learner) Policy() *policy.Policy { return l.policy }

// Leases are what is known.
func (l *Learner) Leases() []learn.Lease { return l.machine.Leases() }

// Expire lets the time pass; now is in nanoseconds since the beginning of 1970.
func (l *Learner) Expire(now int64) error {
	_, err := l.take(l.machine.Expire(time.Unix(0, now)))
	return err
}

// Observe is told a packet and what became of it under the policy. It was observed
// if a port's program had copied it. It is to be judged again if the guest sent it,
// it was dropped, and another policy is to be in force because of it: until then it
// is held.
func (l *Learner) Observe(frame []byte, out bool, r *Result, now int64) (observed, again bool, err error) {
	passed := r.Verdict.Passes()
	if _, observed = r.Packet.Observed(frame, l.policy.Observe, l.policy.Learning.Config.MAC, passed); !observed {
		return false, false, nil
	}
	changed, err := l.take(l.machine.Observe(frame, out, passed, time.Unix(0, now)))
	return true, changed && out && !passed, err
}

func (l *Learner) take(e learn.Event) (changed bool, err error) {
	if !e.Changed {
		return false, nil
	}
	p, err := l.resolve(l.machine.Leases())
	if err != nil {
		return false, fmt.Errorf("with what was learned the filter cannot be worked out: %w", err)
	}
	l.policy = p
	return true, nil
}

// DecideLearning is Decide for a port that learns. The packet that teaches is judged
// by the policy that it makes.
func (e *Evaluator) DecideLearning(l *Learner, frame []byte, out bool, now int64) (Result, error) {
	if err := l.Expire(now); err != nil {
		return Result{}, err
	}
	r := e.decideUnder(l, frame, out, now)
	_, again, err := l.Observe(frame, out, &r, now)
	if err != nil || !again {
		return r, err
	}
	r = e.decideUnder(l, frame, out, now)
	_, _, err = l.Observe(frame, out, &r, now)
	return r, err
}

func (e *Evaluator) decideUnder(l *Learner, frame []byte, out bool, now int64) Result {
	if e.policy != l.policy {
		e.SetPolicy(l.policy)
	}
	return e.Decide(frame, out, now)
}
