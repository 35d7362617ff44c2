package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tapgate/internal/policy"
)

// variables reports parameters that nothing uses, and variables without a
// value.
func (l *linter) variables() {
	for i := range l.tree.references {
		l.referenceParameters(&l.tree.references[i])
	}
	used := map[string]bool{macVariable: true, "DHCPSERVER": true}
	for i := range l.tree.rules {
		for _, a := range variables(l.tree.rules[i].Rule) {
			used[a.Value.Variable.Name] = true
		}
	}
	said := map[string]bool{}
	for _, p := range l.input.Parameters {
		if used[p.Name] || said[p.Name] || isSetting(p.Name) {
			continue
		}
		said[p.Name] = true
		l.findings = append(l.findings, Finding{Kind: UnusedParameter, Severity: Notice, Pos: l.tree.top.Pos, Filter: l.tree.top.Name,
			Message: fmt.Sprintf("no rule uses the parameter %s of the binding", p.Name), Hint: usedHint(used)})
	}
	l.missing()
}

// isSetting tells the parameters that say something to the port, not to rules.
func isSetting(name string) bool { return strings.HasPrefix(name, policy.SettingPrefix) }

func usedHint(used map[string]bool) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(used)), func(name string) bool {
		return name == macVariable || name == "DHCPSERVER"
	})
	if len(names) == 0 {
		return ""
	}
	text := "used are"
	for i, name := range names {
		if i > 0 {
			text += ","
		}
		text += " " + name
	}
	return text
}

func (l *linter) referenceParameters(ref *treeReference) {
	said := map[string]bool{}
	for _, p := range ref.Parameters {
		message, hint := "", ""
		kind, severity := UnusedParameter, Problem
		switch {
		case said[p.Name]:
			continue
		case p.Name == macVariable && ref.uses[p.Name]:
			message, hint = "the parameter MAC of a reference never counts: every binding gives the guest's own", "leave it out"
		case isSetting(p.Name):
			message, hint = fmt.Sprintf("the parameter %s counts in a binding only", p.Name), "leave it out"
		case !ref.uses[p.Name]:
			message = fmt.Sprintf("nothing in filter %s uses the parameter %s", ref.Filter, p.Name)
			hint = usedHint(ref.uses)
		case given(l.input.Parameters, p.Name):
			kind, severity = Overridden, Notice
			message = fmt.Sprintf("the parameter %s of the binding takes the place of this one, which is only a default", p.Name)
		default:
			continue
		}
		said[p.Name] = true
		pos := p.Pos
		if pos.Line == 0 {
			pos = ref.Pos
		}
		l.findings = append(l.findings, Finding{Kind: kind, Severity: severity, Pos: pos,
			Filter: ref.path[len(ref.path)-1], Path: ref.path, Message: message, Hint: hint})
	}
}

// missing reports each variable once. Without a single parameter it is only
// said what a binding has to give, with one or more it is a mistake.
func (l *linter) missing() {
	said := map[string]bool{}
	for _, use := range l.guest.missing {
		if said[use.Variable.String()] {
			continue
		}
		said[use.Variable.String()] = true
		f := Finding{Kind: MissingVariable, Severity: Notice, Pos: use.Pos, Filter: use.Path[len(use.Path)-1], Path: use.Path,
			Message: fmt.Sprintf("$%s has no value: a binding must give it", use.Variable), Hint: "try one with --param " + use.Variable.Name + "=VALUE"}
		if len(l.input.Parameters) > 0 {
			f.Severity = Problem
		}
		if use.Count > 0 {
			f.Severity = Problem
			f.Message = fmt.Sprintf("$%s names element %d, counted from 0, of a list of %d", use.Variable, use.Variable.Index, use.Count)
			f.Hint = "give more values, or another number"
		}
		l.findings = append(l.findings, f)
	}
}
