package eval

import (
	"fmt"
	"strings"
	"testing"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

func resolve(t *testing.T, document string) *policy.Policy {
	t.Helper()
	f, faults := nwfilter.Parse([]byte(document), "x.xml", nwfilter.Options{})
	if f == nil {
		t.Fatal(faults)
	}
	p, err := policy.Resolve(f.Name, []byte{0x52, 0x54, 0, 0, 0, 1}, nil, func(string) *nwfilter.Filter { return f })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLimits(t *testing.T) {
	conntracktest.RunLimits(t, func(t *testing.T, filter string) func([]byte, bool, int64) bool {
		e := New(resolve(t, filter), conntrack.Config{PickUp: true})
		return func(frame []byte, out bool, now int64) bool {
			return e.Decide(frame, out, now).Verdict.Passes()
		}
	})
}

func syn(t *testing.T, port int) []byte {
	t.Helper()
	f, err := packet.FromText(fmt.Sprintf("tcp 10.0.0.2:%d > 10.0.0.1:22 syn", port), packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: []byte{0x52, 0x54, 0, 0, 0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What a rule has counted stays when other rules change.
func TestACountOutlivesAChangeOfPolicy(t *testing.T) {
	const limit = `<filter name="x">` + "\n" + `<rule action="drop" direction="in"><tcp connlimit-above="1"/></rule>` + "\n"
	before := resolve(t, limit+`</filter>`)
	e := New(before, conntrack.Config{PickUp: true})
	if r := e.Decide(syn(t, 1), false, 1e9); !r.Verdict.Passes() {
		t.Fatal(r)
	}
	e.SetPolicy(resolve(t, limit+`<rule action="accept" direction="in" priority="-10"><udp/></rule></filter>`))
	if r := e.Decide(syn(t, 2), false, 2e9); r.Verdict.Passes() {
		t.Error("a rule that stayed has forgotten what it counted")
	}
	e.SetPolicy(resolve(t, strings.Replace(limit, `"1"`, `"0"`, 1)+`</filter>`))
	e.SetPolicy(before)
	if r := e.Decide(syn(t, 2), false, 3e9); r.Verdict.Passes() {
		t.Error("a rule that came back has forgotten what still lives")
	}
}

// A packet that cannot be counted is dropped.
func TestNoRoomToCount(t *testing.T) {
	var rules strings.Builder
	for i := range 17 {
		fmt.Fprintf(&rules, `<rule action="drop" direction="in"><tcp dstportstart="22" connlimit-above="%d"/></rule>`, 100+i)
	}
	all := resolve(t, `<filter name="x">`+rules.String()+`</filter>`)
	e := New(all, conntrack.Config{PickUp: true})
	r := e.Decide(syn(t, 1), false, 1e9)
	if r.Verdict.Passes() || r.Reason != verdict.TableFull || r.Clause != all.Clauses[16] {
		t.Errorf("seventeen limits for one packet: %v %v", r.Verdict, r.Reason)
	}

	few := resolve(t, `<filter name="x"><rule action="drop" direction="in"><tcp connlimit-above="100"/></rule><rule action="drop" direction="in" priority="600"><tcp connlimit-above="101"/></rule></filter>`)
	e = New(few, conntrack.Config{PickUp: true, MaxConnections: 3})
	for i, want := range []verdict.Reason{verdict.Default, verdict.TableFull} {
		if r := e.Decide(syn(t, i), false, 1e9); r.Reason != want {
			t.Errorf("connection %d, two places each, three in all: %v, want %v", i, r.Reason, want)
		}
	}
}
