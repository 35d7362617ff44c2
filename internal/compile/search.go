package compile

import (
	"cmp"
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// searchKey is what a search compares: a field, or the 32 bits of it that hold
// an IPv4 address.
type searchKey struct {
	field packet.Field
	v4    bool
}

// span is an interval of a field's values, both ends included.
type span struct{ lo, hi packet.U128 }

func compare(a, b packet.U128) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

func successor(v packet.U128) packet.U128 {
	if v.Lo++; v.Lo == 0 {
		v.Hi++
	}
	return v
}

// searchable conditions are those that one field lies in a span: masks of the
// first bits are spans too.
func searchable(c *policy.Condition) (searchKey, span, bool) {
	if c.Negated || len(c.Terms) != 1 || c.Terms[0].Op != policy.InRange {
		return searchKey{}, span{}, false
	}
	t := c.Terms[0]
	info := t.Field.Info()
	key := searchKey{field: t.Field}
	whole := packet.U128{Lo: math.MaxUint64}
	switch {
	case info.Bits == 128 && t.Mask.Hi == 0 && t.Mask.Lo <= math.MaxUint32:
		key.v4 = true
		whole.Lo = math.MaxUint32
	case info.Bits == 128:
		whole.Hi = math.MaxUint64
	case info.Bits == 64:
		whole.Lo = 1<<48 - 1 // 64-bit fields are MAC addresses
	default:
		whole.Lo = 1<<info.Bits - 1
	}
	rest := packet.U128{Hi: whole.Hi &^ t.Mask.Hi, Lo: whole.Lo &^ t.Mask.Lo}
	oneBlock := rest.Hi&(rest.Hi+1) == 0 && rest.Lo&(rest.Lo+1) == 0 && (rest.Hi == 0 || rest.Lo == math.MaxUint64)
	// A value with bits outside the mask never occurs.
	if outside := (t.Lo.Hi|t.Hi.Hi)&^t.Mask.Hi | (t.Lo.Lo|t.Hi.Lo)&^t.Mask.Lo; outside != 0 {
		return key, span{}, false
	}
	if !oneBlock || t.Lo != t.Hi && rest != (packet.U128{}) || compare(t.Lo, t.Hi) > 0 || t.Mask.Hi&^whole.Hi|t.Mask.Lo&^whole.Lo != 0 {
		return key, span{}, false
	}
	return key, span{t.Lo, packet.U128{Hi: t.Hi.Hi | rest.Hi, Lo: t.Hi.Lo | rest.Lo}}, true
}

// branch is a span of values with the entries that are left for it, in order;
// the last branch of a search ends with the field's greatest value.
type branch struct {
	span
	entries []entry
}

// search is a run of n entries that compare one field.
type search struct {
	n        int
	key      searchKey
	needs    packet.Have
	branches []branch
	hits     int // branches with entries
	// first is the first of the run; tail, if set, are the tests that all
	// entries go on with.
	first entry
	tail  *entry
}

// A search pays from this many entries and different values on.
const (
	minSearched = 4
	minHits     = 2
)

// search finds the field by which most of the entries from at on are told
// apart; nil if none covers more of them than other does.
func (p *plan) search(at, other int) *search {
	entries := p.entries[at:]
	var best *search
	for _, t := range entries[0].tests {
		if !t.searchable || at < p.refused[t.key] {
			continue
		}
		// A fragment that lacks the field is left undecided by the first
		// clause, if nothing else keeps it from there.
		if first := entries[0].tests[0]; t.transport && (!first.transport || first.needs != t.needs || !entries[0].plain() || t.needs&^(packet.HavePorts|icmp) != 0) {
			continue
		}
		s, tried := grow(entries, t)
		switch {
		case s == nil || s.hits < minHits:
			p.refused[t.key] = at + tried
		case s.n > other && (best == nil || cmp.Or(cmp.Compare(s.n, best.n), cmp.Compare(s.hits, best.hits)) > 0):
			best = s
		}
	}
	return best
}

func (e entry) searched(key searchKey) *test {
	for _, t := range e.tests {
		if t.searchable && t.key == key {
			return t
		}
	}
	return nil
}

// grow takes as many entries as overlap so little that the tree stays in
// proportion, trying four times as many each time. It tells how many it looked at.
func grow(entries []entry, t *test) (best *search, tried int) {
	same, different := 1, false
	for n := minSearched; ; n *= 4 {
		for same < min(n, len(entries)) {
			other := entries[same].searched(t.key)
			if other == nil {
				break
			}
			different = different || other != t
			same++
		}
		if same < minSearched {
			return nil, same
		}
		if !different && same == n && same < len(entries) {
			continue
		}
		if !different {
			return nil, same
		}
		branches, hits := makeBranches(entries[:same], t.key)
		if branches == nil {
			break
		}
		best = &search{n: same, key: t.key, needs: t.needs, branches: branches, hits: hits, first: entries[0]}
		if same < n || same == len(entries) {
			break
		}
	}
	if best != nil {
		best.shareTail(entries[:best.n])
	}
	return best, same
}

// makeBranches cuts the field's values into spans, by which entries hold; nil
// if there are far more copies than entries.
func makeBranches(entries []entry, key searchKey) (branches []branch, hits int) {
	left := make([]entry, len(entries))
	spans := make([]span, len(entries))
	bounds := make([]packet.U128, 1, 2*len(entries)+1)
	for i, e := range entries {
		t := e.searched(key)
		left[i], spans[i] = e.without(t), t.span
		bounds = append(bounds, t.span.lo, successor(t.span.hi))
	}
	slices.SortFunc(bounds[1:], compare)
	bounds = slices.Compact(bounds)
	starts, ends := make([]int, len(entries)), make([]int, len(entries))
	for i := range entries {
		starts[i], ends[i] = i, i
	}
	slices.SortStableFunc(starts, func(a, b int) int { return compare(spans[a].lo, spans[b].lo) })
	slices.SortStableFunc(ends, func(a, b int) int { return compare(spans[a].hi, spans[b].hi) })
	var active []int // in order of the list
	branches = make([]branch, 0, len(bounds))
	copies, work := 0, 0
	for i, at := range bounds {
		if len(ends) > 0 && compare(spans[ends[0]].hi, at) < 0 {
			for len(ends) > 0 && compare(spans[ends[0]].hi, at) < 0 {
				ends = ends[1:]
			}
			active = slices.DeleteFunc(active, func(k int) bool { return compare(spans[k].hi, at) < 0 })
		}
		first := len(active)
		for len(starts) > 0 && compare(spans[starts[0]].lo, at) <= 0 {
			active = append(active, starts[0])
			starts = starts[1:]
		}
		if first > 0 && first < len(active) {
			slices.Sort(active)
		}
		if work += len(active); work > 16*len(entries)+256 {
			return nil, 0
		}
		b := branch{span: span{lo: at}}
		for _, k := range active {
			b.entries = append(b.entries, left[k])
			if left[k].certain() {
				break
			}
		}
		if copies += len(b.entries); copies > 2*len(entries)+16 {
			return nil, 0
		}
		if len(b.entries) > 0 {
			hits++
		}
		if i > 0 {
			branches[i-1].hi = predecessor(at)
		}
		branches = append(branches, b)
	}
	branches[len(branches)-1].hi = packet.U128{Hi: math.MaxUint64, Lo: math.MaxUint64}
	return branches, hits
}

func predecessor(v packet.U128) packet.U128 {
	if v.Lo--; v.Lo == math.MaxUint64 {
		v.Hi--
	}
	return v
}

// shareTail notes if all entries go on with the same tests to the same result.
// Then the first of several decides, whatever the tests say.
func (s *search) shareTail(entries []entry) {
	for i, e := range entries {
		left := e.without(e.searched(s.key))
		if i == 0 {
			s.tail = &left
		}
		if len(left.tests) == 0 || !e.plain() || e.clause.Action == nwfilter.Continue ||
			e.clause.Action != s.tail.clause.Action || !slices.Equal(left.tests, s.tail.tests) {
			s.tail = nil
			return
		}
	}
}

// search compiles a search. It always leaves by a jump.
func (f *function) search(s *search, run []entry, end string, k known, split bool) {
	undecided := f.newLabel()
	if s.first.tests[0].transport {
		k = f.decides(s.needs, undecided, k)
	}
	common := run[0].needs()
	for _, e := range run[1:] {
		common &= e.needs()
	}
	f.tree(s, s.branches, end, f.has(common, end, k), split)
	f.label(undecided)
	f.leave(codeUndecided, s.first.clause, false)
}

// tree loads the field and finds its branch by a balanced tree of comparisons.
func (f *function) tree(s *search, branches []branch, end string, k known, split bool) {
	info := s.key.field.Info()
	switch {
	case s.key.v4:
		f.load(value, info.Member, 8, asm.Word)
	case info.Bits == 128:
		f.load(value, info.Member, 0, asm.DWord)
		f.load(scratch, info.Member, 8, asm.DWord)
	default:
		f.load(value, info.Member, 0, sizes[info.Bits])
	}
	t := tree{function: f, search: s, tail: f.newLabel(), end: end, known: k, split: split}
	t.node(branches)
	f.label(t.tail)
	if s.tail != nil {
		f.clause(*s.tail, end, k, true)
	}
	f.emit(asm.Ja.Label(end))
}

type tree struct {
	*function
	search    *search
	tail, end string
	known     known
	split     bool
}

// node tells branches apart until one is left.
func (t *tree) node(branches []branch) {
	if t.split && t.search.cost(branches) <= maxJumps {
		t.outline(func(part *function, end string) { part.tree(t.search, branches, end, t.known, false) })
		t.emit(asm.Ja.Label(t.end))
		return
	}
	hits, last, middle := 0, 0, 0
	for i, b := range branches {
		if len(b.entries) > 0 {
			hits++
			last = i
		}
	}
	if hits <= 1 {
		t.leaf(branches, last)
		return
	}
	for left := 0; left < hits/2; middle++ {
		if len(branches[middle].entries) > 0 {
			left++
		}
	}
	right := t.newLabel()
	t.above(branches[middle-1].hi, right)
	t.node(branches[:middle])
	t.label(right)
	t.node(branches[middle:])
}

// leaf goes to one branch; the others are empty.
func (t *tree) leaf(branches []branch, at int) {
	b := branches[at]
	switch {
	case len(branches) == 1:
	case b.lo == b.hi:
		t.differs(b.lo, t.end)
	default:
		if at > 0 {
			t.below(b.lo, t.end)
		}
		if at < len(branches)-1 {
			t.above(b.hi, t.end)
		}
	}
	switch {
	case len(b.entries) == 0:
	case t.search.tail != nil:
		t.emit(asm.Mov.Imm32(found, int32(b.entries[0].clause.ID)), asm.Ja.Label(t.tail))
	default:
		t.entries(b.entries, t.end, t.known, t.split)
	}
	t.emit(asm.Ja.Label(t.end))
}

// cost estimates the jumps of a subtree.
func (s *search) cost(branches []branch) int {
	cost := 0
	if s.tail != nil {
		cost = s.tail.cost()
	}
	for _, b := range branches {
		cost += 3
		if s.tail == nil {
			for _, e := range b.entries {
				cost += e.cost()
			}
		}
	}
	return cost
}

// above jumps to label if the value is greater than v, below if it is less,
// differs if it is another.
func (t *tree) above(v packet.U128, label string) { t.edge(asm.JGT, asm.JLT, v, label) }
func (t *tree) below(v packet.U128, label string) { t.edge(asm.JLT, asm.JGT, v, label) }

func (t *tree) edge(beyond, within asm.JumpOp, v packet.U128, label string) {
	if !t.wide() {
		t.compare(beyond, value, v.Lo, label, t.narrow())
		return
	}
	inside := t.newLabel()
	t.compare(beyond, value, v.Hi, label, false)
	t.compare(within, value, v.Hi, inside, false)
	t.compare(beyond, scratch, v.Lo, label, false)
	t.label(inside)
}

func (t *tree) differs(v packet.U128, label string) {
	if t.wide() {
		t.compare(asm.JNE, value, v.Hi, label, false)
		t.compare(asm.JNE, scratch, v.Lo, label, false)
		return
	}
	t.compare(asm.JNE, value, v.Lo, label, t.narrow())
}

func (t *tree) wide() bool { return t.search.key.field.Info().Bits == 128 && !t.search.key.v4 }

func (t *tree) narrow() bool { return t.search.key.v4 || t.search.key.field.Info().Bits <= 32 }
