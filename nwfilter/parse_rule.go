package nwfilter

import (
	"fmt"
	"slices"
	"strings"

	"tapgate/nwfilter/internal/document"
)

// rule reads a <rule>, or returns nil after a fault.
func (r *reader) rule(e *document.Element) *Rule {
	r.OnlyAttributes(e, "action", "direction", "priority", "statematch")
	r.NoText(e)
	rule := &Rule{Priority: DefaultRulePriority, StateMatch: true, Pos: r.position(e.Place)}
	action, hasAction := r.word(e, "action", actionNames[:])
	direction, hasDirection := r.word(e, "direction", directionNames[:])
	rule.Action, rule.Direction = Action(action), Direction(direction)
	if a := e.Attribute("priority"); a != nil {
		if n, ok := parsePriority(a.Value); ok {
			rule.Priority = n
		} else {
			r.Ignore(e, a, fmt.Sprintf("the rule's priority cannot be %s: expected a number from %d to %d",
				document.Quote(a.Value), MinPriority, MaxPriority), fmt.Sprintf("libvirt takes %d instead", DefaultRulePriority))
		}
	}
	if a := e.Attribute("statematch"); a != nil {
		r.stateMatch(e, a, rule)
	}
	r.protocolElements(e, rule)
	if !hasAction || !hasDirection {
		return nil
	}
	if rule.Action == Continue && rule.Protocol != nil && rule.Protocol.Stage == NetworkStage {
		r.Ignore(e, e.Attribute("action"), fmt.Sprintf("the action continue is possible at the link stage only, and <%s> is judged at the network stage", rule.Protocol.Name), "")
	}
	return rule
}

// word reads an attribute that must be one of the names.
func (r *reader) word(e *document.Element, attribute string, names []string) (int, bool) {
	expected := "expected " + strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	a := e.Attribute(attribute)
	if a == nil {
		r.Refuse(e, nil, fmt.Sprintf("<%s> needs the attribute %q: %s", e.Name, attribute, expected), "")
		return 0, false
	}
	i := slices.Index(names, a.Value)
	if i < 0 {
		r.Refuse(e, a, fmt.Sprintf("%s of <%s> cannot be %s: %s", attribute, e.Name, document.Quote(a.Value), expected), r.DidYouMean(a.Value, names))
	}
	return max(i, 0), i >= 0
}

func (r *reader) stateMatch(e *document.Element, a *document.Attribute, rule *Rule) {
	switch {
	case a.Value == "0" || strings.EqualFold(a.Value, "false"):
		rule.StateMatch = false
	case a.Value == "1" || strings.EqualFold(a.Value, "true"):
	default:
		r.Ignore(e, a, fmt.Sprintf("statematch cannot be %s: expected true or false", document.Quote(a.Value)),
			"libvirt takes everything but false and 0 for true")
	}
}

// protocolElements reads the protocol elements of a rule. The first known one
// fixes the protocol; more of the same name are merged into the rule.
func (r *reader) protocolElements(e *document.Element, rule *Rule) {
	m := merge{reader: r, rule: rule}
	for _, c := range e.Children {
		protocol := LookupProtocol(c.Name)
		switch {
		case protocol == nil:
			r.UnknownChild(e, c, r.DidYouMean(c.Name, protocolNames()))
		case rule.Protocol != nil && protocol != rule.Protocol:
			r.Ignore(c, nil, fmt.Sprintf("a rule has one protocol: <%s> stands beside <%s>", c.Name, rule.Protocol.Name), "write a rule of its own")
		default:
			if rule.Protocol == nil {
				rule.Protocol = protocol
				m.slots = make([]slot, len(protocol.Attributes))
			}
			m.element(c)
		}
	}
	m.finish()
}

func protocolNames() []string {
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = p.Name
	}
	return names
}
