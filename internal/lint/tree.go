package lint

import (
	"errors"
	"slices"

	"tapgate/nwfilter"
)

// tree is a filter with everything that it references.
type tree struct {
	top *nwfilter.Filter
	// rules and references stand in the order of the walk, those of a filter
	// that is referenced twice once.
	rules      []treeRule
	references []treeReference
}

type treeRule struct {
	*nwfilter.Rule
	filter *nwfilter.Filter
	path   []string
}

type treeReference struct {
	*nwfilter.Reference
	path []string
	// uses are the variables of the rules below.
	uses map[string]bool
}

// walkTree leaves out references to what is not defined, or that loop: these
// are faults of the binding.
func walkTree(in Input) (*tree, error) {
	top := in.Lookup(in.Filter)
	if top == nil {
		return nil, errors.New("filter \"" + in.Filter + "\" is not defined")
	}
	t := &tree{top: top}
	w := treeWalker{tree: t, lookup: in.Lookup, uses: map[*nwfilter.Filter]map[string]bool{}}
	w.walk(top, []string{in.Filter})
	return t, nil
}

type treeWalker struct {
	*tree
	lookup func(string) *nwfilter.Filter
	uses   map[*nwfilter.Filter]map[string]bool
}

func (w *treeWalker) walk(f *nwfilter.Filter, path []string) map[string]bool {
	if uses, done := w.uses[f]; done {
		return uses
	}
	uses := map[string]bool{}
	w.uses[f] = uses
	for _, e := range f.Entries {
		if e.Rule != nil {
			w.rules = append(w.rules, treeRule{e.Rule, f, path})
			for _, a := range variables(e.Rule) {
				uses[a.Value.Variable.Name] = true
			}
			continue
		}
		ref := treeReference{Reference: e.Reference, path: path, uses: map[string]bool{}}
		if target := w.lookup(e.Reference.Filter); target != nil {
			ref.uses = w.walk(target, append(slices.Clone(path), e.Reference.Filter))
			for name := range ref.uses {
				uses[name] = true
			}
		}
		w.references = append(w.references, ref)
	}
	return uses
}

// variables are the attributes whose values a binding has to give.
func variables(r *nwfilter.Rule) []nwfilter.Attribute {
	var out []nwfilter.Attribute
	for _, list := range [][]nwfilter.Attribute{r.Attributes, r.Replaced} {
		for _, a := range list {
			if a.Value.Variable != nil && !a.Spec.NoVariable {
				out = append(out, a)
			}
		}
	}
	return out
}
