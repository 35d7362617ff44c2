package policytest

import (
	"flag"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"pgregory.net/rapid"

	"tapgate/internal/eval"
	"tapgate/internal/lab"
	"tapgate/internal/learn"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
)

// enoughChecks are those from which on everything must have been met.
const enoughChecks = 100

// learned counts what happened.
type learned struct {
	sync.Mutex
	changes int // of the policy
	again   int // packets that passed by the policy that they made
	right   int // packets with the guest's address
	false_  int // packets with another one
	ended   int // changes by the time alone
}

// TestEnginesLearnAlike lets anything happen at ports that learn. Both engines must
// give the same verdicts, for the same reasons, while policies change, and whoever
// learns must be told of the same packets. What the guest sends under a clean-traffic
// filter must pass if and only if it comes from an address that is known.
func TestEnginesLearnAlike(t *testing.T) {
	all := engines(t)
	engine := all[len(all)-1]
	met := &learned{}
	rapid.Check(t, func(t *rapid.T) { learnAlike(t, engine, met) })
	t.Logf("%d policies, %d packets passed by those that they made, %d with the guest's address, %d with another one, %d ends",
		met.changes, met.again, met.right, met.false_, met.ended)
	if n, _ := strconv.Atoi(flag.Lookup("rapid.checks").Value.String()); n < enoughChecks {
		return
	}
	if min(met.changes, met.again, met.right, met.false_, met.ended) == 0 {
		t.Error("something was not met")
	}
}

func learnAlike(t *rapid.T, engine Engine, met *learned) {
	w := life{t}
	test := w.binding()
	defined, err := test.define()
	if err != nil {
		t.Fatal(err)
	}
	p, err := test.bind(defined)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRun(p, settings.Settings{}, nil, engine)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.learner = eval.NewLearner(p, func(leases []learn.Lease) (*policy.Policy, error) { return test.resolve(defined, leases) })
	if err := r.begin(); err != nil {
		t.Fatal(err)
	}
	var events []happening
	for n := rapid.IntRange(15, 60).Draw(t, "events"); n > 0; n-- {
		events = append(events, w.events()...)
	}
	for _, e := range events {
		r.now += r.gap() + int64(w.pause())
		before := r.policy
		var result packetResult
		if _, err := r.judged(&Packet{Dir: e.dir, Frame: e.frame}, &result); err != nil {
			t.Fatalf("%s %x: %v", e.dir, e.frame, err)
		}
		if result.program != nil && *result.program != result.eval {
			t.Fatalf("%s %x: evaluator %s, kernel %s", e.dir, e.frame, result.eval, result.program)
		}
		w.check(test, &e, r.learner.Leases(), result.eval.Expect(), met)
		if r.policy != before {
			met.changes++
			if e.dir == "out" && result.eval.Expect() == pass {
				met.again++
			}
			if e.idle {
				met.ended++
			}
		}
	}
}

// check asks whether a packet of which only the guest's address decides passed as
// it must.
func (w life) check(test *Test, e *happening, leases []learn.Lease, got Expect, met *learned) {
	filter := test.Binding.Filter
	if !e.from.IsValid() && !e.to.IsValid() || filter == "stateful" {
		return
	}
	address, want := e.from, drop
	if e.to.IsValid() {
		address = e.to
	}
	known := func(p netip.Prefix) bool {
		return p.Contains(address) || e.to.IsValid() && p.Addr().Is4() == address.Is4()
	}
	judged := filter == "clean-traffic-dual" || address.Is4() == (filter == "clean-traffic")
	for _, l := range leases {
		if judged && known(l.Address) {
			want = pass
		}
	}
	for _, p := range test.Binding.Parameters {
		if a, err := netip.ParseAddr(p.Value); err == nil && (p.Name == "IP" || p.Name == "IPV6") && judged && known(netip.PrefixFrom(a, a.BitLen())) {
			want = pass
		}
	}
	if got != want {
		w.Fatalf("%s %x: %s, want %s with %v known", e.dir, e.frame, got, want, learn.Texts(leases))
	}
	if want == pass {
		met.right++
	} else {
		met.false_++
	}
}

// happening is a packet. from or to is the guest's address if nothing else decides.
type happening struct {
	dir      Direction
	frame    []byte
	from, to netip.Addr
	idle     bool // it cannot teach anything
}

// life draws what happens at a port, from few addresses and transactions, so that
// things meet by chance.
type life struct{ *rapid.T }

func (w life) one(label string, of ...string) string { return rapid.SampledFrom(of).Draw(w.T, label) }
func (w life) often(label string) bool               { return rapid.IntRange(0, 9).Draw(w.T, label) > 0 }
func (w life) xid() byte                             { return byte(rapid.IntRange(1, 3).Draw(w.T, "xid")) }

func (w life) lifetime() time.Duration {
	return time.Duration(rapid.SampledFrom([]uint32{1, 60, 60, 3600, 10_000, 1<<32 - 1}).Draw(w.T, "lifetime")) * time.Second
}

func (w life) pause() time.Duration {
	return rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 0, 0, 0, time.Second, time.Minute, time.Hour}).Draw(w.T, "pause")
}

func (w life) address4() string { return w.one("IPv4 address", "10.0.0.5", "10.0.0.6", "10.0.0.7") }
func (w life) address6() string {
	return w.one("IPv6 address", "fe80::5", "fe80::6", linkLocal, "2001:db8:1::5", "2001:db8:1::6", "2001:db8:2::5", "2001:db8:50::7")
}

// binding draws what is bound; something is to be learned.
func (w life) binding() *Test {
	p := newPlay("random", w.one("filter", "clean-traffic", "clean-traffic-ipv6", "clean-traffic-dual", "clean-traffic-dual", "stateful"))
	p.Filters = []string{`<filter name='stateful'>
  <filterref filter='clean-traffic-dual'/>
  <rule action='accept' direction='out'><udp srcipaddr='$IP'/></rule>
  <rule action='accept' direction='out'><udp-ipv6 srcipaddr='$IPV6'/></rule>
  <rule action='reject' direction='in'><all/></rule>
  <rule action='drop' direction='in'><all-ipv6/></rule>
</filter>`}
	give := func(name, value string) {
		p.Binding.Parameters = append(p.Binding.Parameters, newPlay("", "", name, value).Binding.Parameters...)
	}
	give("CTRL_IP_LEARNING", w.one("mode", "any", "dhcp"))
	if p.Binding.Filter != "clean-traffic" && p.Binding.Filter != "clean-traffic-ipv6" {
		switch w.one("given", "neither", "neither", "IPv4", "IPv6") {
		case "IPv4":
			give("IP", "10.0.0.7")
		case "IPv6":
			give("IPV6", "fe80::6")
		}
	}
	if !w.often("everybody is trusted") {
		give("DHCPSERVER", server.String())
		give("DHCPSERVERV6", router.String())
	}
	return p.Test
}

// events is a packet, or several that belong together.
func (w life) events() []happening {
	a, a6, xid, lease := w.address4(), w.address6(), w.xid(), w.lifetime()
	switch w.one("what", "packet", "packet", "packet", "packet", "exchange", "exchange6", "autoconfiguration") {
	case "exchange":
		return []happening{
			{dir: "out", frame: asks(discover, xid)}, {dir: "in", frame: answers(server, offer, xid, a, lease)},
			{dir: "out", frame: asks(ask, xid, forAddress(a))}, {dir: "in", frame: answers(server, ack, xid, a, lease)},
		}
	case "exchange6":
		return []happening{
			{dir: "out", frame: looksFor(linkLocal)}, {dir: "out", frame: asks6(request6, xid)},
			{dir: "in", frame: answers6(router, reply6, xid, w.associations()...)},
		}
	case "autoconfiguration":
		return []happening{
			{dir: "in", frame: advertises("2001:db8:1::/64", lease)}, {dir: "out", frame: looksFor(a6)},
		}
	}
	return []happening{w.event()}
}

func (w life) event() happening {
	switch w.one("kind", "data", "data", "data", "data to", "arp", "nd", "dhcp", "dhcp answer", "dhcpv6", "dhcpv6 answer", "router", "objection", "broken") {
	case "data":
		if rapid.Bool().Draw(w.T, "IPv6") {
			a := w.address6()
			return happening{dir: "out", frame: data6(a), from: addr(a)}
		}
		a := w.address4()
		return happening{dir: "out", frame: data(a), from: addr(a)}
	case "data to":
		if rapid.Bool().Draw(w.T, "IPv6") {
			a := w.address6()
			return happening{dir: "in", frame: data6To(a), to: addr(a), idle: true}
		}
		a := w.address4()
		return happening{dir: "in", frame: dataTo(a), to: addr(a), idle: true}
	case "arp":
		a := w.address4()
		return happening{dir: "out", frame: sent("arp " + w.one("operation", "request ", "reply ") + a + " > 10.0.0.1"), from: addr(a)}
	case "nd":
		return happening{dir: "out", frame: w.discovers()}
	case "dhcp":
		return happening{dir: "out", frame: w.asks()}
	case "dhcp answer":
		return happening{dir: "in", frame: w.answers()}
	case "dhcpv6":
		return happening{dir: "out", frame: w.asks6()}
	case "dhcpv6 answer":
		return happening{dir: "in", frame: answers6(w.trusted(router), reply6, w.xid(), w.associations()...)}
	case "router":
		return happening{dir: "in", frame: advertises(w.one("prefix", "2001:db8:1::/64", "2001:db8:2::/64"), w.lifetime())}
	case "objection":
		return happening{dir: "in", frame: objects(w.address6())}
	}
	e := w.event()
	e.frame = slices.Clone(e.frame)
	e.frame[rapid.IntRange(0, len(e.frame)-1).Draw(w.T, "at")] ^= byte(rapid.IntRange(1, 255).Draw(w.T, "bits"))
	return happening{dir: e.dir, frame: e.frame}
}

func (w life) discovers() []byte {
	a := w.address6()
	switch w.one("message", "for duplicates", "for a neighbour", "for a router", "advertisement") {
	case "for duplicates":
		return looksFor(a)
	case "for a neighbour":
		return asksNeighbour(a, router.String())
	case "for a router":
		return routerAsked()
	}
	return lab.NeighbourAdvertisement(guestMAC, addr(a), addr(w.address6()), guestMAC)
}

func (w life) trusted(server netip.Addr) netip.Addr {
	if w.often("trusted") {
		return server
	}
	return server.Next()
}

func (w life) rapidCommit() []dhcpv4.Modifier {
	if w.often("no rapid commit") {
		return nil
	}
	return []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.OptionRapidCommit, nil)}
}

func (w life) asks() []byte {
	kind := rapid.SampledFrom([]dhcpv4.MessageType{discover, discover, ask, ask, ask, decline, release, inform}).Draw(w.T, "type")
	a := w.address4()
	switch {
	case kind == discover:
		return asks(kind, w.xid(), w.rapidCommit()...)
	case kind == release, kind == inform, !w.often("broadcast"):
		return renews(kind, w.xid(), a)
	}
	return asks(kind, w.xid(), forAddress(a))
}

func (w life) answers() []byte {
	kind := rapid.SampledFrom([]dhcpv4.MessageType{offer, ack, ack, ack, nak}).Draw(w.T, "type")
	return answers(w.trusted(server), kind, w.xid(), w.address4(), w.lifetime(), w.rapidCommit()...)
}

func (w life) asks6() []byte {
	kind := rapid.SampledFrom([]dhcpv6.MessageType{solicit6, request6, request6, renew6, release6}).Draw(w.T, "type")
	if kind == release6 {
		return asks6(kind, w.xid(), w.associations()...)
	}
	return asks6(kind, w.xid())
}

func (w life) associations() []dhcpv6.Option {
	return []dhcpv6.Option{address6(w.one("address", "2001:db8:1::5", "2001:db8:3::5"), w.lifetime()), prefix6("2001:db8:50::/56", w.lifetime())}
}
