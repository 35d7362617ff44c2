package policy

import (
	"fmt"
	"strings"
	"testing"

	"tapgate/nwfilter"
)

// What multiplies without end is refused at once.
func TestMultiplyingIsRefused(t *testing.T) {
	values := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("P=%d", i))
		}
		return list
	}
	product := `<rule action="drop" direction="in"><tcp srcportstart="$P[@1]" dstportstart="$P[@2]"/></rule>`
	// Each filter references the next one ten times.
	fan := func(last string) []string {
		var documents []string
		for i := range 12 {
			documents = append(documents, fmt.Sprintf(`<filter name="f%d">%s</filter>`, i, strings.Repeat(fmt.Sprintf(`<filterref filter="f%d"/>`, i+1), 10)))
		}
		return append(documents, `<filter name="f12">`+last+`</filter>`)
	}
	for _, test := range []struct {
		name      string
		params    []string
		documents []string
		want      string
	}{
		{"one product", values(2000), []string{`<filter name="x">` + product + `</filter>`}, "multiply to more than"},
		{"many products", values(300), []string{`<filter name="x">` + strings.Repeat(product, 1000) + `</filter>`}, "multiply to more than"},
		{"references to nothing", nil, fan(""), "multiply to more than"},
		{"references to a rule", nil, fan(`<rule action="drop" direction="in"/>`), "multiply to more than"},
		{"references to a product", values(300), fan(product), "multiply to more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			top, find := lookup(t, test.documents...)
			_, err := Resolve(top, guestMAC, params(test.params...), find)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// A chain of references as long as people nest them.
func TestDeepReferences(t *testing.T) {
	var documents []string
	for i := range 64 {
		documents = append(documents, fmt.Sprintf(`<filter name="f%d"><filterref filter="f%d"/></filter>`, i, i+1))
	}
	top, find := lookup(t, append(documents, `<filter name="f64"><rule action="drop" direction="in"/></filter>`)...)
	p, err := Resolve(top, guestMAC, nil, find)
	if err != nil || len(p.Clauses) != 1 || len(p.Clauses[0].Origin.Path) != 65 {
		t.Errorf("%+v, %v", p, err)
	}
}

func BenchmarkResolve10000(b *testing.B) {
	f, _ := nwfilter.Parse([]byte(`<filter name="x"><rule action="accept" direction="in"><tcp srcipaddr="$A" dstportstart="80"/></rule></filter>`), "x", nwfilter.Options{})
	var list []nwfilter.Parameter
	for i := range 10000 {
		list = append(list, nwfilter.Parameter{Name: "A", Value: fmt.Sprintf("10.0.%d.%d", i/256, i%256)})
	}
	for b.Loop() {
		if _, err := Resolve("x", guestMAC, list, func(string) *nwfilter.Filter { return f }); err != nil {
			b.Fatal(err)
		}
	}
}
