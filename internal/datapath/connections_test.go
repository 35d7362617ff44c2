package datapath

import (
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/device"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// table is the tester's connections as a port's are read.
func (t *Tester) table(p *policy.Policy) (*connectionTable, error) {
	spec, err := skeleton.Load()
	if err != nil {
		return nil, err
	}
	table := &connectionTable{number: t.state.Port, types: spec.Types, maps: map[string]*ebpf.Map{}, rules: map[uint64]*Clause{}}
	for _, name := range connectionMaps {
		table.maps[name] = t.bed.maps[name]
	}
	table.shard = func(i uint32) (shard *ebpf.Map, err error) {
		return t.bed.shards[shardName("connections", i)].Clone()
	}
	table.addRules(describe(p, Meta{}, device.Device{}).Clauses)
	table.layout, err = newConnectionLayout(spec.Types)
	return table, err
}

// connections reads the tester's table.
func (t *Tester) connections(p *policy.Policy, now int64) (map[conntrack.Key]Connection, error) {
	table, err := t.table(p)
	if err != nil {
		return nil, err
	}
	all := map[conntrack.Key]Connection{}
	for entry, err := range table.entries(now) {
		if err != nil {
			return nil, err
		}
		c, err := table.describe(entry, now)
		if err != nil {
			return nil, err
		}
		all[c.Key] = *c
	}
	return all, nil
}

const twoRules = `<filter name="x">
  <rule action="accept" direction="in"><tcp dstportstart="22"/></rule>
  <rule action="accept" direction="out"><udp/></rule>
  <rule action="drop" direction="inout"><tcp/></rule>
  <rule action="drop" direction="in"><all state="INVALID"/></rule>
</filter>`

// What was opened is told with its direction, its rule, its age and what is
// left to it; what has expired is not.
func TestConnectionsAreRead(t *testing.T) {
	needRoot(t)
	p := resolve(t, twoRules)
	tester, err := NewTester(p, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tester.Close()
	ends := packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	const second = int64(1e9)
	for i, text := range []string{
		"in tcp 10.0.0.2:4000 > 10.0.0.1:22 syn",
		"out tcp 10.0.0.1:22 > 10.0.0.2:4000 syn ack",
		"out udp 10.0.0.1:4000 > 10.0.0.2:53 len 64",
		"in icmp 10.0.0.2 > 10.0.0.1 echo-request id 7",
		"in tcp 10.0.0.2:4000 > 10.0.0.1:23 syn",
	} {
		out := text[:3] == "out"
		frame, err := packet.FromText(text[3:], ends)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tester.Run(frame, out, int64(i+1)*second); err != nil {
			t.Fatal(err)
		}
	}
	all, err := tester.connections(p, 10*second)
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		text         string
		out          bool
		age, timeout time.Duration
		rule         string
	}
	got := map[string]seen{}
	for _, c := range all {
		rule := ""
		if c.Rule != nil {
			rule = c.Rule.Origin.String()
		}
		got[conntrack.ProtoName(c.Proto)] = seen{c.String(), c.Out, c.Age, c.Timeout, rule}
	}
	want := map[string]seen{
		"tcp":  {"tcp 10.0.0.2:4000 > 10.0.0.1:22 SYN_RECV replied", false, 9 * time.Second, 52 * time.Second, "test.xml:2"},
		"udp":  {"udp 10.0.0.1:4000 > 10.0.0.2:53", true, 7 * time.Second, 23 * time.Second, "test.xml:3"},
		"icmp": {"icmp 10.0.0.2 > 10.0.0.1 type 8 code 0 id 7", false, 6 * time.Second, 24 * time.Second, ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Error(diff)
	}
	if all, err = tester.connections(p, 40*second); err != nil || len(all) != 1 {
		t.Errorf("after 40 s: %v, %v", all, err)
	}
	// Under a policy without the rule its name says nothing any more.
	all, err = tester.connections(resolve(t, `<filter name="x"><rule action="accept" direction="in"><tcp/></rule></filter>`), 40*second)
	for _, c := range all {
		if c.Rule != nil || c.Admitted == 0 {
			t.Errorf("%s: admitted by %x, rule %v", &c.Connection, c.Admitted, c.Rule)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// sameConnections checks that both engines have the same connections at the end
// of a sequence.
func (p *engines) sameConnections(policy *policy.Policy, now int64) error {
	text := func(c *conntrack.Connection) string {
		announced := c.Announced
		announced.Reader = conntrack.NoHelper // as c.Helper
		return fmt.Sprintf("%s, out %v, created %d, expires %d, packets %d, bytes %d, admitted %x, helper %s, announced %+v",
			c, c.Out, c.Created, c.Expires, c.Packets, c.Bytes, c.Admitted, c.Helper, announced)
	}
	evaluated, ran := map[conntrack.Key]string{}, map[conntrack.Key]string{}
	for c := range p.eval.Connections().All(now) {
		evaluated[c.Key] = text(c)
	}
	all, err := p.tester.connections(policy, now)
	for key, c := range all {
		ran[key] = text(&c.Connection)
	}
	if diff := cmp.Diff(evaluated, ran); diff != "" {
		return fmt.Errorf("the connections differ (- evaluator, + kernel):\n%s", diff)
	}
	return err
}
