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
			both := newEngines(t, resolve(t, document))
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

// Policies of the largest size that is asked for load, and their last clauses
// decide.
func TestLargePolicies(t *testing.T) {
	needRoot(t)
	for name, packets := range map[string][]string{
		"20000 rules":     {"udp 10.0.0.1:1 > 10.0.0.2:2", "tcp 10.78.31.1:4000 > 10.0.0.1:20000 syn dscp 9", "tcp 10.78.31.1:4000 > 10.0.0.1:20001 syn dscp 9"},
		"10000 addresses": {"tcp 10.148.15.39:4000 > 10.0.0.1:80 syn", "tcp 10.148.15.39:4000 > 10.0.0.1:81 syn", "tcp 10.148.16.39:4000 > 10.0.0.1:80 syn"},
	} {
		t.Run(name, func(t *testing.T) {
			p := largePolicies(t)[name]
			both := newEngines(t, p)
			defer both.tester.Close()
			decided := 0
			for _, text := range packets {
				frame, err := packet.FromText(text, packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: guestMAC})
				if err != nil {
					t.Fatal(err)
				}
				evaluated, ran, _ := both.run(t, frame, false, 1)
				if evaluated != ran {
					t.Errorf("%s: evaluator %+v, kernel %+v", text, evaluated, ran)
				}
				if ran.Clause >= 0 {
					decided++
				}
			}
			if decided != 1 {
				t.Errorf("clauses decided %d packets, want 1", decided)
			}
		})
	}
}
