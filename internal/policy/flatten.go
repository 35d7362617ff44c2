package policy

import (
	"fmt"
	"slices"
	"strings"

	"tapgate/nwfilter"
)

// values maps a parameter's name to its list of values.
type values map[string][]string

// flatRule is one rule at one place of the tree of references.
type flatRule struct {
	rule   *nwfilter.Rule
	filter *nwfilter.Filter
	env    values
	path   []string
	// learned is set where lists are learned: their length is nobody's choice.
	learned bool
}

type flattener struct {
	lookup     func(string) *nwfilter.Filter
	rules      []flatRule
	missing    []MissingUse
	noted      map[nwfilter.Variable]bool
	references int
	learned    bool
}

func makeValues(params []nwfilter.Parameter) values {
	env := values{}
	for _, p := range params {
		env[p.Name] = append(env[p.Name], p.Value)
	}
	return env
}

// enter is the environment inside a reference: its own parameters are
// defaults that everything of the caller overrides, list by list.
func (env values) enter(params []nwfilter.Parameter) values {
	if len(params) == 0 {
		return env
	}
	inner := makeValues(params)
	for name, list := range env {
		inner[name] = list
	}
	return inner
}

// What references and lists that multiply may produce: more than any kernel
// loads, and little enough to be refused at once.
const (
	maxReferences = 100_000
	maxRules      = 1 << 17
)

// walk appends the rules of f and of what it references, depth first in
// document order. path ends with f's own name.
func (w *flattener) walk(f *nwfilter.Filter, env values, path []string) error {
	for _, entry := range f.Entries {
		if entry.Rule != nil {
			if err := w.noteMissing(entry.Rule, env, path); err != nil {
				return err
			}
			w.rules = append(w.rules, flatRule{entry.Rule, f, env, path, w.learned})
			if len(w.rules) > maxRules {
				return &Error{Pos: entry.Rule.Pos, Path: path, Message: fmt.Sprintf("the references multiply to more than %d rules", maxRules)}
			}
			continue
		}
		ref := entry.Reference
		if w.references++; w.references > maxReferences {
			return &Error{Pos: ref.Pos, Path: path, Message: fmt.Sprintf("the references multiply to more than %d", maxReferences)}
		}
		inner := append(slices.Clone(path), ref.Filter)
		if slices.Contains(path, ref.Filter) {
			return &Error{Pos: ref.Pos, Message: "filter references loop: " + strings.Join(inner, " → ")}
		}
		next := w.lookup(ref.Filter)
		if next == nil {
			return &Error{Pos: ref.Pos, Path: inner,
				Message: "filter \"" + ref.Filter + "\" is referenced but not defined",
				Hint:    "define it with \"tapgate filter define\""}
		}
		if err := w.walk(next, env.enter(ref.Parameters), inner); err != nil {
			return err
		}
	}
	return nil
}

// noteMissing notes the variables of a rule that have no value, and refuses
// those that can have none.
func (w *flattener) noteMissing(r *nwfilter.Rule, env values, path []string) error {
	for _, a := range references(r) {
		v := a.Value.Variable
		if strings.HasPrefix(v.Name, SettingPrefix) {
			return &Error{Pos: a.Pos, Path: path,
				Message: fmt.Sprintf("$%s: names that begin with %s are settings of the port, which rules cannot use", v, SettingPrefix),
				Hint:    "give the variable another name"}
		}
		list := env[v.Name]
		if len(list) > 0 && v.Index < int64(len(list)) {
			continue
		}
		if w.noted[*v] {
			continue
		}
		w.noted[*v] = true
		w.missing = append(w.missing, MissingUse{*v, a.Pos, path, len(list)})
	}
	return nil
}
