package nwfilter_test

import (
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tapgate/nwfilter"
)

// sameMeaning compares filters without what the printed form does not keep.
var sameMeaning = cmp.Options{
	cmpopts.IgnoreTypes(nwfilter.Position{}),
	cmpopts.IgnoreFields(nwfilter.Attribute{}, "Element"),
	cmpopts.IgnoreFields(nwfilter.Rule{}, "Replaced"),
	cmpopts.EquateComparable(nwfilter.Value{}.Addr),
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b *nwfilter.Protocol) bool { return a == b }),
	cmp.Comparer(func(a, b *nwfilter.AttributeSpec) bool { return a == b }),
	cmp.Transformer("sorted", func(r *nwfilter.Reference) nwfilter.Reference {
		if r == nil {
			return nwfilter.Reference{}
		}
		return nwfilter.Reference{Filter: r.Filter, Parameters: nwfilter.SortedParameters(r.Parameters)}
	}),
}

// reparsed checks that the printed filter is the same filter.
func reparsed(t interface {
	Helper()
	Fatalf(string, ...any)
}, f *nwfilter.Filter) {
	t.Helper()
	text := nwfilter.Format(f)
	again, diagnostics := nwfilter.Parse([]byte(text), "printed", nwfilter.Options{Lenient: true})
	if err := diagnostics.Err(); err != nil {
		t.Fatalf("printed filter: %v\n%s", err, text)
	}
	if diff := cmp.Diff(f, again, sameMeaning); diff != "" {
		t.Fatalf("printed filter differs (-first +second):\n%s\n%s", diff, text)
	}
	if second := nwfilter.Format(again); second != text {
		t.Fatalf("printed twice differs:\n%s\n%s", text, second)
	}
}
