// Package eval is the reference semantics: it decides a packet from a policy
// and the connections so far, says which clause decided, and can tell the
// whole way there. The eBPF program must agree with it on every packet.
package eval

import (
	"tapgate/internal/conntrack"
	"tapgate/internal/ipset"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/reject"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

// Result is a packet's fate and why.
type Result struct {
	Verdict verdict.Verdict
	Reason  verdict.Reason
	// Clause decided, if Reason is verdict.Clause.
	Clause *policy.Clause
	// Answer is what a rejected packet is answered with, unless there are too
	// many of them.
	Answer reject.Kind
	// Packet is the frame as decoded, with the state it was given.
	Packet packet.Packet
	// Matched are all clauses that matched, whether or not they decided:
	// what the counters count.
	Matched []*policy.Clause
	// Trace is the way through the lists; only if asked for.
	Trace []Step
}

// Step is one stop on a packet's way.
type Step struct {
	Stage nwfilter.Stage
	// Clause or Chain is what was looked at.
	Clause *policy.Clause
	Chain  *policy.Chain
	// Entered tells of a chain, Matched of a clause, that its conditions held.
	Matched bool
	// Failed is the first condition that did not hold, or FailedSet.
	Failed    *policy.Condition
	FailedSet *policy.IPSet
	// Note says what happened where neither clause nor chain does, or which
	// condition beyond the packet did not hold.
	Note string
}

// Evaluator decides the packets of one port, in order. It is not safe for
// concurrent use.
type Evaluator struct {
	policy    *policy.Policy
	table     *conntrack.Table
	streams   *conntrack.Streams
	limits    *conntrack.Limits
	pending   *conntrack.Pending // of the packet in hand
	fragments fragments
	sets      ipset.Sets
	lookups   map[*policy.IPSet]*ipset.Lookup
	names     []uint64 // of the policy's clauses, once a connection was opened
	tracing   bool
	trace     []Step
	matched   []*policy.Clause
}

// New starts with an empty connection table. Tracking runs only if the policy
// names states or counts connections, helpers only if it names RELATED, as in the eBPF program.
func New(p *policy.Policy, config conntrack.Config) *Evaluator {
	e := &Evaluator{table: conntrack.NewTable(config), fragments: fragments{first: map[datagram]*firstFragment{}}}
	e.streams = conntrack.NewStreams(e.table)
	e.limits = conntrack.NewLimits(e.table)
	e.SetPolicy(p)
	return e
}

// SetPolicy exchanges the policy; connections live on, and fragments if the
// policy is the same.
func (e *Evaluator) SetPolicy(p *policy.Policy) {
	e.policy, e.names, e.fragments.policy = p, nil, p.Fingerprint
	e.UseSets(e.sets)
	e.table.Expect = nil
	if p.Facts.Related {
		e.table.Expect = e.streams.Take
	}
}

// Trace switches the recording of steps on or off.
func (e *Evaluator) Trace(on bool) { e.tracing = on }

// Connections is the evaluator's connection table.
func (e *Evaluator) Connections() *conntrack.Table { return e.table }

// Decide judges a whole Ethernet frame. now is in nanoseconds on a clock that
// never goes back.
func (e *Evaluator) Decide(frame []byte, out bool, now int64) Result {
	p := packet.Decode(frame, out)
	p.Now = now
	e.trace, e.matched = nil, nil
	r := e.decide(&p)
	if r.Verdict == verdict.Reject {
		r.Answer = reject.KindOf(&p, e.policy.MAC)
	}
	r.Packet, r.Trace, r.Matched = p, e.trace, e.matched
	return r
}

var malformedReasons = map[packet.Malformed]verdict.Reason{
	packet.MalformedIP:         verdict.MalformedIP,
	packet.ShortFirstFragment:  verdict.ShortFirstFragment,
	packet.OverlappingFragment: verdict.OverlappingFragment,
	packet.Unreadable:          verdict.Unreadable,
}

func dropped(why verdict.Reason) Result { return Result{Verdict: verdict.Drop, Reason: why} }

func (e *Evaluator) decide(p *packet.Packet) Result {
	first := e.fragments.recall(p)
	if p.Malformed != packet.WellFormed {
		return dropped(malformedReasons[p.Malformed])
	}
	if first != nil && !first.passed {
		return dropped(verdict.FirstFragment)
	}
	e.pending = nil
	r := e.stages(p)
	e.limits.Settle(r.Verdict.Passes())
	if p.Fragment == packet.FragmentFirst || p.Fragment == packet.FragmentShort {
		e.fragments.remember(p, r.Verdict.Passes())
	}
	return r
}

// stages runs the link stage first on the way out and last on the way in, so
// that a frame which the link stage drops on the way out never touches the
// connections, and an entry is made only when all stages accept.
func (e *Evaluator) stages(p *packet.Packet) Result {
	var link Result
	network := Result{Reason: verdict.Default}
	if p.Out {
		if link = e.link(p); !link.Verdict.Passes() {
			return link
		}
	}
	judged := p.Family != 0 && p.Fragment != packet.FragmentLater
	if judged {
		if e.policy.Facts.Tracked() && p.Fragment < packet.FragmentOrphan {
			e.pending = e.table.Classify(p)
		}
		if network = e.network(p); !network.Verdict.Passes() {
			return network
		}
	}
	if !p.Out {
		if link = e.link(p); !link.Verdict.Passes() {
			return link
		}
	}
	if e.pending != nil {
		e.pending.Admit(e.nameOf(network.Clause, link.Clause))
		switch err := e.table.Commit(e.pending); err {
		case nil:
		case conntrack.ErrTableFull:
			return dropped(verdict.TableFull)
		default:
			return dropped(verdict.Race)
		}
		if e.policy.Facts.Related {
			e.streams.Watch(p)
		}
	}
	switch {
	case p.Fragment == packet.FragmentLater:
		return Result{Reason: verdict.FirstFragment}
	case network.Reason != verdict.Clause:
		return link
	}
	return network
}

// link walks the link stage. The end of a chain accepts the frame.
func (e *Evaluator) link(p *packet.Packet) Result {
	for _, item := range e.policy.Link[direction(p)].Items {
		if item.Clause != nil {
			if r, done := e.clause(p, item.Clause, nwfilter.LinkStage); done {
				return r
			}
			continue
		}
		if !e.enters(p, item.Chain) {
			continue
		}
		r, returned := e.chain(p, item.Chain)
		if !returned {
			return r
		}
	}
	return Result{Reason: verdict.Default}
}

// nameOf is the name of the first clause that there is, 0 without one.
func (e *Evaluator) nameOf(clauses ...*policy.Clause) uint64 {
	for _, c := range clauses {
		if c == nil {
			continue
		}
		if e.names == nil {
			e.names = e.policy.ClauseNames()
		}
		return e.names[c.ID]
	}
	return 0
}

func (e *Evaluator) enters(p *packet.Packet, c *policy.Chain) bool {
	entered := true
	for i := range c.Conditions {
		if !c.Conditions[i].Holds(p) {
			entered = false
		}
	}
	if e.tracing {
		e.trace = append(e.trace, Step{Chain: c, Matched: entered})
	}
	return entered
}

// chain walks a chain; returned is set if a rule handed back to the root.
func (e *Evaluator) chain(p *packet.Packet, c *policy.Chain) (r Result, returned bool) {
	for _, clause := range c.Clauses {
		if r, done := e.clause(p, clause, nwfilter.LinkStage); done {
			return r, clause.Action == nwfilter.Return && r.Reason == verdict.Clause
		}
	}
	if e.tracing {
		e.trace = append(e.trace, Step{Chain: c, Matched: true, Note: "end of chain " + c.Name + ": accepted"})
	}
	return Result{Reason: verdict.Default}, false
}

func (e *Evaluator) network(p *packet.Packet) Result {
	for _, item := range e.policy.Network[direction(p)].Items {
		if r, done := e.clause(p, item.Clause, nwfilter.NetworkStage); done {
			return r
		}
	}
	return Result{Reason: verdict.Default}
}

// clause tries one clause; done is set if it ends the list.
func (e *Evaluator) clause(p *packet.Packet, c *policy.Clause, stage nwfilter.Stage) (r Result, done bool) {
	outcome, failed := match(p, c)
	var failedSet *policy.IPSet
	if c.IPSet != nil && outcome != differs {
		if in := e.setOutcome(c.IPSet, p); in != matches {
			outcome, failed, failedSet = in, nil, c.IPSet
		}
	}
	note := ""
	var uncounted error
	if outcome == matches && c.ConnLimit != nil {
		var exceeded bool
		exceeded, uncounted = e.limits.Exceeds(p, e.pending, c.ConnLimit.ID, c.ConnLimit.Above)
		if exceeded == c.ConnLimit.Negated {
			outcome, note = differs, "not "+c.ConnLimit.String()
		}
	}
	if e.tracing {
		e.trace = append(e.trace, Step{Stage: stage, Clause: c, Matched: outcome == matches, Failed: failed, FailedSet: failedSet, Note: note})
	}
	if uncounted != nil {
		return Result{Verdict: verdict.Drop, Reason: verdict.TableFull, Clause: c}, true
	}
	switch outcome {
	case differs:
		return Result{}, false
	case undecidable:
		why := verdict.OrphanFragment
		if p.Fragment == packet.FragmentShort {
			why = verdict.ShortFirstFragment
		}
		return Result{Verdict: verdict.Drop, Reason: why, Clause: c}, true
	}
	e.matched = append(e.matched, c)
	r = Result{Reason: verdict.Clause, Clause: c}
	switch c.Action {
	case nwfilter.Continue:
		return Result{}, false
	case nwfilter.Drop:
		r.Verdict = verdict.Drop
	case nwfilter.Reject:
		r.Verdict = verdict.Reject
		if stage == nwfilter.LinkStage {
			r.Verdict = verdict.Drop
		}
	}
	return r, true
}

func direction(p *packet.Packet) policy.Direction {
	if p.Out {
		return policy.Out
	}
	return policy.In
}
