// Package lint says what a person should know about a filter: rules that can
// never match, traffic that gets around the rules, and the places where the
// language means something else than one would expect. It works on the policy
// that the filter comes down to, and knows no kernel.
package lint

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"strings"

	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
)

// Severity tells mistakes from what is only worth knowing.
type Severity uint8

// The severities.
const (
	// Problem is a rule without effect, or a hole that the filter's own rules
	// show to be unwanted.
	Problem Severity = iota
	// Notice is a trait of the language that this filter depends on.
	Notice
)

func (s Severity) String() string {
	if s == Notice {
		return "notice"
	}
	return "problem"
}

// Finding is one thing to say about a filter.
type Finding struct {
	Kind *Kind
	// Pos is the rule, attribute or reference that it is about.
	Pos nwfilter.Position
	// Filter holds Pos; Path are the references from the top one to it.
	Filter string
	Path   []string
	// Severity is the kind's, unless the case is a milder one.
	Severity Severity
	// Message is a sentence, Hint what may help; "" if nothing does.
	Message, Hint string
}

// String is "file:line:column: severity: message [id]; hint".
func (f Finding) String() string {
	text := f.Pos.String() + ": " + f.Severity.String() + ": " + f.Message
	if len(f.Path) > 1 {
		text += " (reached through " + strings.Join(f.Path, " → ") + ")"
	}
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	return text + " [" + f.Kind.ID + "]"
}

// Input is a filter and what is known of the guest.
type Input struct {
	// Filter is the top filter's name, Lookup finds filters.
	Filter string
	Lookup func(string) *nwfilter.Filter
	// MAC and Parameters are what a binding would give. Where they lack a
	// value, anything that depends on it is left open.
	MAC        net.HardwareAddr
	Parameters []nwfilter.Parameter
	// Settings of the port; nil for the defaults.
	Settings settings.Values
}

// linter collects the findings about one filter.
type linter struct {
	input    Input
	settings settings.Settings
	tree     *tree
	guest    *guest
	policy   *policy.Policy
	lists    map[*policy.List]*reach
	regions  map[*policy.Clause]*region
	findings []Finding
}

// Run finds what is to be said, in the order of files and lines. The error is
// that of a filter that is not defined.
func Run(in Input) ([]Finding, error) {
	l := &linter{input: in, settings: in.Settings.Settings(), lists: map[*policy.List]*reach{}, regions: map[*policy.Clause]*region{}}
	var err error
	if l.tree, err = walkTree(in); err != nil {
		return nil, err
	}
	l.guest = newGuest(in, l.tree)
	l.variables()
	l.rules()
	if l.policy, err = l.guest.resolve(in); err != nil {
		l.refused(err)
		return l.sorted(), nil
	}
	for _, list := range l.all() {
		l.lists[list] = l.walk(list)
	}
	l.unreachable()
	l.bypasses()
	l.ends()
	l.order()
	l.connections()
	l.spoofing()
	return l.sorted(), nil
}

func (l *linter) all() []*policy.List {
	var lists []*policy.List
	for _, d := range policy.Directions {
		lists = append(lists, l.policy.Link[d], l.policy.Network[d])
	}
	return lists
}

func (l *linter) refused(err error) {
	var fault *policy.Error
	if !errors.As(err, &fault) {
		fault = &policy.Error{Message: err.Error()}
	}
	f := Finding{Kind: Unbindable, Pos: fault.Pos, Path: fault.Path, Message: "no port can be bound to this: " + fault.Message, Hint: fault.Hint}
	if f.Pos.Line == 0 {
		f.Pos = l.tree.top.Pos
	}
	l.findings = append(l.findings, f)
}

// clause reports about the rule of a clause.
func (l *linter) clause(k *Kind, s Severity, c *policy.Clause, message, hint string) {
	l.findings = append(l.findings, Finding{Kind: k, Pos: c.Origin.Pos, Filter: c.Origin.Filter, Path: c.Origin.Path, Severity: s, Message: message, Hint: hint})
}

// rule reports about a rule of the tree; pos may be one of its attributes.
func (l *linter) rule(k *Kind, s Severity, r *treeRule, pos nwfilter.Position, message, hint string) {
	l.findings = append(l.findings, Finding{Kind: k, Pos: pos, Filter: r.filter.Name, Path: r.path, Severity: s, Message: message, Hint: hint})
}

// sorted orders the findings and keeps one of each kind at a place: a rule may
// have many copies.
func (l *linter) sorted() []Finding {
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column),
			cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Kind.ID, b.Kind.ID))
	})
	return slices.CompactFunc(l.findings, func(a, b Finding) bool { return a.Kind == b.Kind && a.Pos == b.Pos })
}
