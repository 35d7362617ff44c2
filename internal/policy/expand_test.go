package policy

import (
	"fmt"
	"testing"
)

// The worked examples of the language's description of variables.
func TestVariablesExpandInOrder(t *testing.T) {
	a3 := []string{"A=1.1.1.1", "A=2.2.2.2", "A=3.3.3.3"}
	a2 := a3[:2]
	ports := []string{"P=80", "P=81"}
	for _, test := range []struct {
		name, attributes string
		params           []string
		want             [][2]string
	}{
		{"repeated values count once", `dstportstart="$P"`, []string{"P=80", "P=81", "P=80"}, [][2]string{{"", "80"}, {"", "81"}}},
		{"one iterator moves in step", `srcipaddr="$A" dstportstart="$P"`, append(a2[:2:2], ports...), [][2]string{{"1.1.1.1", "80"}, {"2.2.2.2", "81"}}},
		{"two iterators: the first slot turns fastest", `srcipaddr="$A[@2]" dstportstart="$P[@1]"`, append(a3[:3:3], ports...),
			[][2]string{{"1.1.1.1", "80"}, {"2.2.2.2", "80"}, {"3.3.3.3", "80"}, {"1.1.1.1", "81"}, {"2.2.2.2", "81"}, {"3.3.3.3", "81"}}},
		{"slot 0 is always first", `srcipaddr="$A[@1]" dstportstart="$P[@0]"`, append(a2[:2:2], ports...),
			[][2]string{{"1.1.1.1", "80"}, {"1.1.1.1", "81"}, {"2.2.2.2", "80"}, {"2.2.2.2", "81"}}},
		{"an index is a constant", `srcipaddr="$A" dstportstart="$P[1]"`, append(a2[:2:2], ports...), [][2]string{{"1.1.1.1", "81"}, {"2.2.2.2", "81"}}},
		{"equal tuples count once", `srcipaddr="$A" dstportstart="$P"`, []string{"A=1.1.1.1", "A=2.2.2.2", "A=1.1.1.1", "P=1", "P=2", "P=3"},
			[][2]string{{"1.1.1.1", "1"}, {"2.2.2.2", "2"}, {"1.1.1.1", "3"}}},
		{"duplicates go slot by slot", `srcipaddr="$A[@1]" dstportstart="$P[@2]"`, []string{"A=1.1.1.1", "A=2.2.2.2", "A=1.1.1.1", "P=1", "P=2", "P=1"},
			[][2]string{{"1.1.1.1", "1"}, {"2.2.2.2", "1"}, {"1.1.1.1", "2"}, {"2.2.2.2", "2"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := resolve(t, params(test.params...), `<filter name="x"><rule action="drop" direction="in"><tcp `+test.attributes+`/></rule></filter>`)
			var lists []string
			for _, w := range test.want {
				line := "drop ip version=4 protocol=tcp"
				if w[0] != "" {
					line += " src=" + w[0]
				}
				lists = append(lists, line+" dport="+w[1])
			}
			want(t, lines(p.Network[In]), lists...)
		})
	}
}

func TestProductsAreBounded(t *testing.T) {
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("P=%d", i))
	}
	top, find := lookup(t, `<filter name="x"><rule action="drop" direction="in"><tcp srcportstart="$P[@1]" dstportstart="$P[@2]"/></rule></filter>`)
	if _, err := Resolve(top, guestMAC, params(many...), find); err == nil {
		t.Error("four million clauses were accepted")
	}
}
