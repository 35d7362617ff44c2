package policytest

import (
	"fmt"
	"net/netip"
	"slices"

	"tapgate/internal/learn"
	"tapgate/internal/policy"
)

// isOwn tells whether the sequence is about what Tapgate does, and no recording:
// libvirt does not say what it has learned.
func (s *Sequence) isOwn() bool {
	return slices.ContainsFunc(s.Packets, func(p Packet) bool { return p.Learned != nil })
}

// canonical is an address, or a prefix, as Tapgate writes it (RFC 5952); "" for what is
// neither.
func canonical(text string) string {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.String()
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.String()
	}
	return ""
}

// forget begins anew: nothing is known of the guest.
func (r *run) forget() error {
	if r.learner == nil {
		return nil
	}
	r.learner.Reset()
	return r.usePolicy(r.learner.Policy())
}

// usePolicy puts another policy in force, with the connections that there are.
func (r *run) usePolicy(p *policy.Policy) error {
	if p == r.policy {
		return nil
	}
	r.policy, r.eval.policy = p, p
	r.eval.eval.SetPolicy(p)
	if r.program == nil {
		return nil
	}
	r.program.policy = p
	return r.program.tester.Load(p, r.program.config)
}

// learning judges a packet at a port that learns, and once more if the packet
// taught an address: it is held until the policy is in force that it makes.
func (r *run) learning(p *Packet, result *packetResult) (details evalDetails, err error) {
	if err := r.learner.Expire(r.now); err != nil {
		return details, err
	}
	for again := true; again; {
		if err := r.usePolicy(r.learner.Policy()); err != nil {
			return details, err
		}
		if details, err = r.decide(p, result); err != nil {
			return details, err
		}
		if again, err = r.observe(p, &details); err != nil {
			return details, err
		}
	}
	return details, nil
}

// observe tells the learner of a packet, and whether it is to be judged again. Both
// engines must tell whoever learns of the same packets.
func (r *run) observe(p *Packet, details *evalDetails) (again bool, err error) {
	observed, again, err := r.learner.Observe(p.Frame, p.Dir == "out", details, r.now)
	if err != nil || r.program == nil {
		return again, err
	}
	copies, err := r.program.tester.Observed()
	if err == nil && len(copies) > 0 != observed {
		err = fmt.Errorf("the engines disagree: the program told %d times of a packet, and it was to be told of: %v", len(copies), observed)
	}
	return again, err
}

// checkLearned compares what is known after a packet with what must be.
func (r *run) checkLearned(p *Packet, result *packetResult) {
	if p.Learned == nil || result.fault != "" {
		return
	}
	var known []string
	if r.learner != nil {
		known = learn.Texts(r.learner.Leases())
	}
	var want []string
	for _, text := range p.Learned {
		want = append(want, canonical(text))
	}
	slices.Sort(want)
	slices.Sort(known)
	if !slices.Equal(known, want) {
		result.fault = fmt.Sprintf("the addresses %q are known, expected %q", known, want)
	}
}
