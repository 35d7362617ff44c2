package policy

import (
	"fmt"
	"slices"
	"strings"

	"tapgate/nwfilter"
)

// Error is a filter that cannot be worked out for a port, in one sentence.
type Error struct {
	// Pos is the rule, attribute or reference at fault.
	Pos nwfilter.Position
	// Path are the filters from the top one to the one at fault.
	Path    []string
	Message string
	Hint    string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Pos.Line > 0 {
		fmt.Fprintf(&b, "%s: ", e.Pos)
	}
	b.WriteString(e.Message)
	if len(e.Path) > 1 {
		fmt.Fprintf(&b, " (reached through %s)", strings.Join(e.Path, " → "))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// MissingError are variables that neither the binding nor a reference gives.
type MissingError struct {
	// Uses are the unsatisfied references, each once, in order of appearance.
	Uses []MissingUse
	// Addresses is set when nothing but $IP and $IPV6 is missing, and Learnable when
	// the binding does not forbid to learn them either.
	Addresses, Learnable bool
}

// MissingUse is one variable that has no value.
type MissingUse struct {
	Variable nwfilter.Variable
	Pos      nwfilter.Position
	Path     []string
	// Count is the length of the list if the variable is known but too short.
	Count int
}

func (e *MissingError) Error() string {
	var parts []string
	for _, u := range e.Uses {
		s := fmt.Sprintf("%s: $%s has no value", u.Pos, u.Variable)
		if u.Count > 0 {
			s = fmt.Sprintf("%s: $%s names element %d of a list of %d", u.Pos, u.Variable, u.Variable.Index, u.Count)
		}
		if len(u.Path) > 1 {
			s += fmt.Sprintf(" (reached through %s)", strings.Join(u.Path, " → "))
		}
		parts = append(parts, s)
	}
	msg := strings.Join(parts, "; ")
	if e.Learnable {
		return fmt.Sprintf("%s; a port that is bound learns it from what its guest does; here give it with --param %s=ADDRESS", msg, e.Uses[0].Variable.Name)
	}
	return msg + "; give it with --param NAME=VALUE or a <parameter> of the reference"
}

// names are the variables' names.
func (e *MissingError) names() []string {
	var names []string
	for _, u := range e.Uses {
		names = append(names, u.Variable.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
