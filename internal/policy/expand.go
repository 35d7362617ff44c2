package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"tapgate/nwfilter"
)

// concrete is one copy of a rule with literal values.
type concrete struct {
	flatRule
	attributes []nwfilter.Attribute
	values     []string // NAME=VALUE of the variables, for the origin
	// prefixes are the lengths of addresses that were learned as prefixes, by
	// attribute.
	prefixes map[string]uint64
}

// slot is a set of references that move through their lists in step.
type slot struct {
	refs   []nwfilter.Variable
	length int
	index  int64 // the fixed element of $NAME[n], else -1
}

func (s *slot) value(v nwfilter.Variable, at int, env values) string {
	if s.index >= 0 {
		return env[v.Name][s.index]
	}
	return env[v.Name][at]
}

// expand makes the concrete copies of a rule (spec/variables.md section 4):
// the first slot turns fastest, equal tuples within a slot count once.
func expand(r flatRule) ([]concrete, error) {
	slots, err := makeSlots(r)
	if err != nil {
		return nil, err
	}
	if slots == nil {
		c, err := substitute(r, nil)
		if err != nil {
			return nil, err
		}
		return []concrete{c}, nil
	}
	positions := make([][]int, len(slots))
	total := 1
	for i, s := range slots {
		positions[i] = s.distinct(r.env)
		total *= len(positions[i])
		if total > maxRules {
			return nil, &Error{Pos: r.rule.Pos, Path: r.path, Message: fmt.Sprintf("the variables' lists multiply to more than %d rules", maxRules)}
		}
	}
	var copies []concrete
	at := make([]int, len(slots))
	for range total {
		chosen := map[nwfilter.Variable]string{}
		for i, s := range slots {
			for _, ref := range s.refs {
				chosen[ref] = s.value(ref, positions[i][at[i]], r.env)
			}
		}
		c, err := substitute(r, chosen)
		if err != nil {
			return nil, err
		}
		copies = append(copies, c)
		for i := range at {
			if at[i]++; at[i] < len(positions[i]) {
				break
			}
			at[i] = 0
		}
	}
	return copies, nil
}

// makeSlots groups a rule's references; nil if it has none. Slot "iterator 0"
// is always first.
func makeSlots(r flatRule) ([]*slot, error) {
	zero := &slot{length: 1, index: -1}
	slots := []*slot{zero}
	iterators := map[int]*slot{0: zero}
	seen := map[nwfilter.Variable]bool{}
	for _, a := range references(r.rule) {
		v := a.Value.Variable
		if seen[*v] {
			continue
		}
		seen[*v] = true
		if v.Index >= 0 {
			slots = append(slots, &slot{refs: []nwfilter.Variable{*v}, length: 1, index: v.Index})
			continue
		}
		if r.learned && len(r.env[v.Name]) == 1 {
			// A rule that names $MAC beside $IP holds for each address.
			slots = append(slots, &slot{refs: []nwfilter.Variable{*v}, length: 1, index: 0})
			continue
		}
		s := iterators[v.Iterator]
		if s == nil {
			s = &slot{index: -1}
			iterators[v.Iterator] = s
			slots = append(slots, s)
		}
		n := len(r.env[v.Name])
		if len(s.refs) > 0 && s.length != n {
			return nil, &Error{Pos: a.Pos, Path: r.path,
				Message: fmt.Sprintf("$%s has %d values but $%s, which moves in step with it, has %d", v, n, s.refs[0], s.length),
				Hint:    "give both lists the same length, or different iterators such as $NAME[@1]"}
		}
		s.length = n
		s.refs = append(s.refs, *v)
	}
	if len(seen) == 0 {
		return nil, nil
	}
	return slots, nil
}

// references are the attributes of a rule that use variables, replaced ones
// included, in the order in which libvirt meets them: element by element, in
// the order of the protocol's table within one.
func references(r *nwfilter.Rule) []nwfilter.Attribute {
	var refs []nwfilter.Attribute
	for _, list := range [][]nwfilter.Attribute{r.Attributes, r.Replaced} {
		for _, a := range list {
			if a.Value.Variable != nil && !a.Spec.NoVariable {
				refs = append(refs, a)
			}
		}
	}
	if len(refs) < 2 {
		return refs
	}
	place := map[*nwfilter.AttributeSpec]int{}
	for i := range r.Protocol.Attributes {
		place[&r.Protocol.Attributes[i]] = i
	}
	slices.SortStableFunc(refs, func(a, b nwfilter.Attribute) int {
		return cmp.Or(cmp.Compare(a.Element, b.Element), cmp.Compare(place[a.Spec], place[b.Spec]))
	})
	return refs
}

// distinct are the positions of a slot whose tuple of values is new.
func (s *slot) distinct(env values) []int {
	var positions []int
	seen := map[string]bool{}
	for i := range s.length {
		key := ""
		for _, ref := range s.refs {
			key += s.value(ref, i, env) + "\x00"
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		positions = append(positions, i)
	}
	return positions
}

func substitute(r flatRule, chosen map[nwfilter.Variable]string) (concrete, error) {
	c := concrete{flatRule: r, attributes: r.rule.Attributes}
	if chosen == nil {
		return c, nil
	}
	c.attributes = make([]nwfilter.Attribute, len(r.rule.Attributes))
	said := map[string]bool{}
	for i, a := range r.rule.Attributes {
		if v := a.Value.Variable; v != nil && !a.Spec.NoVariable {
			text := chosen[*v]
			value, err := c.parseValue(&a, text)
			if err != nil {
				return c, &Error{Pos: a.Pos, Path: r.path, Message: fmt.Sprintf("<%s> %s=\"$%s\": the value %q does not fit: %v", r.rule.Protocol.Name, a.Spec.Name, v, text, err)}
			}
			a.Value = value
			if pair := v.String() + "=" + text; !said[pair] {
				said[pair] = true
				c.values = append(c.values, pair)
			}
		}
		c.attributes[i] = a
	}
	return c, nil
}

// parseValue reads a variable's value. No binding can give a prefix, but leases of
// a delegated one can.
func (c *concrete) parseValue(a *nwfilter.Attribute, text string) (nwfilter.Value, error) {
	if p, err := netip.ParsePrefix(text); err == nil && a.Spec.Type == nwfilter.IPv6 {
		if c.prefixes == nil {
			c.prefixes = map[string]uint64{}
		}
		c.prefixes[a.Spec.Name] = uint64(p.Bits())
		text = p.Addr().String()
	}
	return a.Spec.ParseVariableValue(c.rule.Protocol, text)
}
