package datapath

import (
	"fmt"
	"strings"
	"testing"

	"tapgate/internal/conntrack"
	"tapgate/internal/eval"
	"tapgate/internal/ipset"
	"tapgate/internal/packet"
)

// TestManyRulesWithSets: the look-ups of a long list are split over functions
// as other conditions are.
func TestManyRulesWithSets(t *testing.T) {
	needRoot(t)
	var b strings.Builder
	b.WriteString("<filter name='long'>\n")
	for i := range 1000 {
		match := ""
		if i%2 > 0 {
			match = "match='no' "
		}
		fmt.Fprintf(&b, "  <rule action='drop' direction='in'><udp-ipv6 %sdscp='%d' ipset='s' ipsetflags='src,dst,dst'/></rule>\n", match, i%60+1)
	}
	b.WriteString("  <rule action='drop' direction='in'><udp-ipv6 ipset='s' ipsetflags='src,dst,dst'/></rule>\n</filter>")
	set, err := ipset.New("s", "hash:ip,port,net", 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Add("fd00::9,udp:2,fd00::/64"); err != nil {
		t.Fatal(err)
	}
	p, sets := resolve(t, b.String()), ipset.Sets{"s": set}
	tester, err := NewTester(p, Config{Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	defer tester.Close()
	both := &engines{tester: tester, eval: eval.New(p, conntrack.Config{PickUp: true})}
	both.eval.UseSets(sets)
	for text, want := range map[string]int{
		"udp [fd00::9]:1 > [fd00::5]:2 dscp 1":       2,
		"udp [fd00::9]:1 > [fd00::5]:2 dscp 59":      60,
		"udp [fd00::9]:1 > [fd00::5]:2 dscp 63":      1002, // no rule before names it
		"udp [fd00::9]:1 > [fd00::5]:3 dscp 2":       5,    // not in the set, and DSCP 4 in line 5
		"udp [fd00::9]:1 > [fd00:0:0:1::5]:2 dscp 2": 5,
		"udp [fd00::8]:1 > [fd00::5]:2 dscp 1":       3,
		"udp 10.0.0.9:1 > 10.0.0.5:2 dscp 1":         0,
	} {
		frame, err := packet.FromText(text, packet.Ends{Src: guestMAC, Dst: guestMAC})
		if err != nil {
			t.Fatal(err)
		}
		evaluated, ran, r := both.run(t, frame, false, 1e9)
		got := 0
		if r.Clause != nil {
			got = r.Clause.Origin.Pos.Line
		}
		if evaluated != ran || got != want {
			t.Errorf("%s: line %d, want %d; evaluator %+v, kernel %+v", text, got, want, evaluated, ran)
		}
	}
}
