package nwfilter

import (
	"fmt"
	"strings"

	"tapgate/nwfilter/internal/document"
)

// merge gathers the attributes of a rule's protocol elements.
type merge struct {
	*reader
	rule     *Rule
	slots    []slot // one for each attribute of the protocol's table
	elements int
}

// slot is one attribute with where it stands in the document; the zero slot is
// an absent one.
type slot struct {
	Attribute
	element *document.Element
	source  *document.Attribute
}

func (m *merge) element(e *document.Element) {
	m.NoChildren(e)
	m.NoText(e)
	negated := m.sign(e)
	for i := range e.Attributes {
		if a := &e.Attributes[i]; a.Name != "match" {
			m.attribute(e, a, negated)
		}
	}
	m.portsNeedProtocol(e)
	m.elements++
}

func (m *merge) sign(e *document.Element) (negated bool) {
	a := e.Attribute("match")
	if a == nil || a.Value == "yes" {
		return false
	}
	if a.Value != "no" {
		m.Ignore(e, a, fmt.Sprintf("match cannot be %s: expected yes or no", document.Quote(a.Value)), "libvirt takes everything but no for yes")
	}
	return a.Value == "no"
}

func (m *merge) attribute(e *document.Element, a *document.Attribute, negated bool) {
	protocol := m.rule.Protocol
	i := protocol.index(a.Name)
	if i < 0 {
		m.UnknownAttribute(e, a, m.attributeHint(a.Name))
		return
	}
	spec := &protocol.Attributes[i]
	value, caution, err := spec.parseValue(a.Value)
	switch {
	case err != nil:
		expected := err.(*ValueError).Expected
		m.Refuse(e, a, fmt.Sprintf("%s of <%s> cannot be %s: expected %s", a.Name, e.Name, document.Quote(a.Value), expected), m.valueHint(spec, a.Value))
		return
	case caution != "":
		m.Ignore(e, a, fmt.Sprintf("%s of <%s> cannot be %s: %s", a.Name, e.Name, document.Quote(a.Value), caution), "")
	case value.Variable != nil && spec.NoVariable:
		m.Ignore(e, a, fmt.Sprintf("a variable cannot stand for %s of <%s>", a.Name, e.Name), "")
	}
	if before := m.slots[i]; before.Spec != nil {
		m.Ignore(e, a, fmt.Sprintf("%s stands twice in one rule: also in line %d", a.Name, before.Pos.Line), "")
		switch {
		case spec.Type == States:
			value = joinStates(before.Value, value)
		case before.Value.Variable != nil:
			m.rule.Replaced = append(m.rule.Replaced, before.Attribute)
		}
	}
	m.slots[i] = slot{
		Attribute: Attribute{Spec: spec, Negated: negated, Element: m.elements, Value: value, Pos: m.position(a.Place)},
		element:   e, source: a,
	}
}

// joinStates adds up the states of several elements, as libvirt does, which
// overwrites every other repeated attribute. A variable gives no state.
func joinStates(before, after Value) Value {
	bits := before.Number | after.Number
	if bits == 0 {
		return after
	}
	return statesValue(bits)
}

// portsNeedProtocol is libvirt's one check of attributes against each other:
// after each <ip> or <ipv6>, ports need a literal protocol that has ports.
func (m *merge) portsNeedProtocol(e *document.Element) {
	if m.rule.Protocol.Stage != LinkStage {
		return
	}
	var number uint64
	if protocol := m.slot("protocol"); protocol != nil {
		number = protocol.Value.Number
	} else if e.Attribute("protocol") != nil {
		return // its value was refused
	}
	switch number {
	case 6, 17, 33, 132:
		return
	}
	for _, spec := range portRanges {
		port := m.slot(spec.Name)
		if port == nil {
			continue
		}
		m.Refuse(e, port.source, fmt.Sprintf("%s of <%s> needs a protocol that has ports: 6 (tcp), 17 (udp), 33 (dccp) or 132 (sctp), not a variable", spec.Name, e.Name),
			"write the protocol in the same element or in one before it")
		return
	}
}

// finish gives the attributes the signs of their partners, notes those that
// are no condition, and puts them into the rule.
func (m *merge) finish() {
	for i := range m.slots {
		s := &m.slots[i]
		if s.Spec == nil {
			continue
		}
		if partner := s.Spec.SignOf; partner != "" {
			base := m.slot(partner)
			negated := base != nil && base.Negated
			if negated != s.Negated && base != nil {
				m.Ignore(s.element, s.source, fmt.Sprintf("%s takes the sign of %s, which is not that of its own element", s.Spec.Name, partner), "write both in one element")
			} else if negated != s.Negated && s.Spec.NeedsBase == "" {
				m.Ignore(s.element, s.source, fmt.Sprintf("match='no' has no effect on %s without %s", s.Spec.Name, partner), "")
			}
			s.Negated = negated
		}
		m.needsBase(s)
		m.rule.Attributes = append(m.rule.Attributes, s.Attribute)
	}
}

func (m *merge) needsBase(s *slot) {
	if base := s.Spec.NeedsBase; base != "" && m.slot(base) == nil && s.element.Attribute(base) == nil {
		m.Ignore(s.element, s.source, fmt.Sprintf("%s of <%s> has no effect without %s", s.Spec.Name, s.element.Name, base), "")
	}
	if other := s.Spec.OverriddenBy; other != "" && m.slot(other) != nil {
		m.Ignore(s.element, s.source, fmt.Sprintf("%s of <%s> has no effect beside %s", s.Spec.Name, s.element.Name, other), "")
	}
}

// slot returns the named attribute if it is present.
func (m *merge) slot(name string) *slot {
	if i := m.rule.Protocol.index(name); i >= 0 && m.slots[i].Spec != nil {
		return &m.slots[i]
	}
	return nil
}

// documented are spellings in libvirt's documentation that its parser does not
// know.
var documented = map[string]string{"msg-age": "age", "msg-age-hi": "age-hi", "msg-age_hi": "age-hi"}

// attributeHint guesses what an unknown attribute was meant to be. A name that
// other protocols have is no slip of the pen.
func (m *merge) attributeHint(name string) string {
	if m.Full() {
		return ""
	}
	p := m.rule.Protocol
	if right, ok := documented[name]; ok && p.index(right) >= 0 {
		return fmt.Sprintf("did you mean %q?", right)
	}
	if p.index("arp"+name) >= 0 {
		return fmt.Sprintf("did you mean %q?", "arp"+name)
	}
	var owners []string
	for _, other := range protocols {
		if other.index(name) >= 0 && len(owners) < 4 {
			owners = append(owners, "<"+other.Name+">")
		}
	}
	if len(owners) > 0 {
		return "it belongs to " + strings.Join(owners, ", ")
	}
	names := []string{"match"}
	for _, s := range p.Attributes {
		names = append(names, s.Name)
	}
	return m.DidYouMean(name, names)
}

// valueHint guesses which word a wrong value was meant to be, and explains the
// usual faults.
func (m *merge) valueHint(s *AttributeSpec, text string) string {
	switch {
	case (s.Type == IPv4 || s.Type == IPv6) && strings.Contains(text, "/"):
		return "the prefix length stands in an attribute of its own, " + strings.Replace(s.Name, "addr", "mask", 1)
	case s.Type == MAC && strings.Count(text, "-") == 5:
		return `the groups are separated by ":"`
	}
	words := s.Names
	if s.Type == States {
		words = stateWords
	}
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = w.Name
	}
	return m.DidYouMean(text, names)
}
