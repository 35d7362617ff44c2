package datapath

import (
	"fmt"
	"strings"
	"testing"

	"tapgate/internal/packet"
)

// A list that is too long for one subprogram is split; the first match still
// decides, and a chain's return still leads back.
func TestLongLists(t *testing.T) {
	needRoot(t)
	const rules = 3000
	var network, chain strings.Builder
	for i := range rules {
		action := []string{"accept", "drop"}[i%2]
		fmt.Fprintf(&network, `<rule action="%s" direction="in" statematch="false"><tcp srcipaddr="10.0.0.2" srcipmask="24" dstportstart="%d" dscp="0"/></rule>`, action, i+1)
		fmt.Fprintf(&chain, `<rule action="%s" direction="in"><ip srcipaddr="10.0.0.2" srcipmask="24" protocol="tcp" dstportstart="%d" dscp="0"/></rule>`, []string{"return", "drop", "accept"}[i%3], i+1)
	}
	for name, document := range map[string]string{
		"network stage":      `<filter name="x">` + network.String() + `<rule action="drop" direction="in"><all/></rule></filter>`,
		"root of link stage": `<filter name="x">` + chain.String() + `</filter>`,
		"chain":              `<filter name="x" chain="ipv4">` + chain.String() + `<rule action="drop" direction="in"/></filter>`,
	} {
		t.Run(name, func(t *testing.T) {
			both := newPair(t, resolve(t, document))
			defer both.tester.Close()
			for _, port := range []int{1, 2, 3, 4, 999, 1000, 1001, 1500, 2998, 2999, 3000, 3001} {
				frame, err := packet.FromText(fmt.Sprintf("tcp 10.0.0.2:4000 > 10.0.0.1:%d syn", port), packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: guestMAC})
				if err != nil {
					t.Fatal(err)
				}
				evaluated, ran, _ := both.run(t, frame, false, 1)
				if evaluated != ran {
					t.Errorf("port %d: evaluator %+v, kernel %+v", port, evaluated, ran)
				}
				if want := port - 1; name == "network stage" && port <= rules && ran.Clause%rules != want {
					t.Errorf("port %d: clause %d decided", port, ran.Clause)
				}
			}
		})
	}
}
