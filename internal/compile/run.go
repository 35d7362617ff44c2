package compile

import (
	"fmt"
	"slices"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// entry is a clause with the tests that are left of its conditions: those on
// what every fragment tells before those on the transport header.
type entry struct {
	clause *policy.Clause
	tests  []*test
}

// test is a condition; equal conditions of a list share one test.
type test struct {
	*policy.Condition
	needs     packet.Have
	transport bool
	// A searchable test is that the value of key lies in a span.
	searchable bool
	key        searchKey
	span       span
}

// testKey tells conditions apart. No condition has more than two terms.
type testKey struct {
	negated bool
	terms   [2]policy.Term
}

func (c *compiler) entries(clauses []*policy.Clause) []entry {
	entries := make([]entry, len(clauses))
	for i, clause := range clauses {
		e := entry{clause, make([]*test, 0, len(clause.Conditions))}
		for k := range clause.Conditions {
			e.tests = append(e.tests, c.test(&clause.Conditions[k]))
		}
		slices.SortStableFunc(e.tests, func(a, b *test) int {
			switch {
			case a.transport == b.transport:
				return 0
			case b.transport:
				return -1
			}
			return 1
		})
		entries[i] = e
	}
	return entries
}

func (c *compiler) test(cond *policy.Condition) *test {
	key := testKey{negated: cond.Negated}
	if copy(key.terms[:], cond.Terms) < len(cond.Terms) && c.err == nil {
		c.err = fmt.Errorf("the condition %q has too many terms", cond)
	}
	if t := c.tests[key]; t != nil {
		return t
	}
	t := &test{Condition: cond, transport: cond.NeedsTransport()}
	for _, term := range cond.Terms {
		t.needs |= term.Field.Info().Needs
	}
	t.key, t.span, t.searchable = searchable(cond)
	c.tests[key] = t
	return t
}

// plain tells whether a clause is no more than its conditions.
func (e entry) plain() bool { return e.clause.ConnLimit == nil && e.clause.IPSet == nil }

// certain tells whether nothing behind the clause is reached.
func (e entry) certain() bool {
	return len(e.tests) == 0 && e.plain() && e.clause.Action != nwfilter.Continue
}

func (e entry) cost() int {
	cost := 1
	if !e.plain() {
		cost += setCost + limitCost
	}
	for _, t := range e.tests {
		cost += conditionCost(t.Condition)
	}
	return cost
}

// needs are the groups that a packet must have, or lack as a fragment, to match.
func (e entry) needs() packet.Have {
	var needs packet.Have
	for _, t := range e.tests {
		needs |= t.needs
	}
	return needs
}

// without is the entry when a test is known to hold.
func (e entry) without(t *test) entry {
	i := slices.Index(e.tests, t)
	tests := make([]*test, 0, len(e.tests)-1)
	return entry{e.clause, append(append(tests, e.tests[:i]...), e.tests[i+1:]...)}
}

// unit is a run of clauses that are compiled together: one clause, some that
// share a test, or some that compare the same field.
type unit struct {
	n      int
	shared *test
	search *search
}

// plan divides a run of clauses into units.
type plan struct {
	entries []entry
	// refused are the entries up to which a search by a key did not pay, so
	// that it is not tried from each of them.
	refused map[searchKey]int
}

// unit chooses the unit that begins with entry at: the longest wins.
func (p *plan) unit(at int) unit {
	entries := p.entries[at:]
	u := unit{n: 1}
	for _, t := range entries[0].tests {
		if t.transport {
			break // each clause that a fragment leaves undecided has its own verdict
		}
		n := 1
		for n < len(entries) && slices.Contains(entries[n].tests, t) {
			n++
		}
		if n > u.n {
			u = unit{n: n, shared: t}
		}
	}
	if s := p.search(at, u.n); s != nil {
		return unit{n: s.n, search: s}
	}
	return u
}

// fitting counts the entries of the first units from at on that fit into one
// function together; 0 if not even the first does.
func (p *plan) fitting(at int, first unit) int {
	n, cost := 0, 0
	for u := first; ; u = p.unit(at + n) {
		for _, e := range p.entries[at+n : at+n+u.n] {
			cost += e.cost()
		}
		if cost > maxJumps {
			return n
		}
		if n += u.n; at+n == len(p.entries) {
			return n
		}
	}
}

// entries compiles a run of clauses. Where none decides, it jumps to end or
// falls through to what the caller puts there. If split, what does not fit
// into this function goes into parts.
func (f *function) entries(entries []entry, end string, k known, split bool) {
	p := plan{entries, map[searchKey]int{}}
	for at := 0; at < len(entries) && !f.dead; {
		u := p.unit(at)
		if split {
			if n := p.fitting(at, u); n > 0 {
				part := entries[at : at+n]
				f.outline(func(f *function, end string) { f.entries(part, end, k, false) })
				at += n
				continue
			}
		}
		run, next := entries[at:at+u.n], end
		if at += u.n; at < len(entries) {
			next = f.newLabel()
		}
		f.unit(u, run, next, k, split)
		if at < len(entries) {
			f.label(next)
		}
	}
}

func (f *function) unit(u unit, run []entry, next string, k known, split bool) {
	switch {
	case u.search != nil:
		f.search(u.search, run, next, k, split)
	case u.shared != nil:
		f.condition(u.shared.Condition, next, k)
		k.present |= u.shared.needs
		left := make([]entry, len(run))
		for i, e := range run {
			left[i] = e.without(u.shared)
		}
		f.entries(left, next, k, split)
	default:
		f.clause(run[0], next, k, false)
	}
}

// outline puts code into a function of its own and calls it. The code leads to
// end where nothing is decided.
func (f *function) outline(code func(part *function, end string)) {
	f.extra++
	part := f.compiler.begin(fmt.Sprintf("%s_%d", f.compiler.name, f.extra))
	part.isPart, part.after = true, f.after
	end := part.newLabel()
	code(part, end)
	part.label(end)
	part.exit(codeNext, noClause)
	f.compiler.end(part)
	f.call(part.name)
}
