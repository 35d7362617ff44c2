package datapath

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/eval"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/reject"
	"tapgate/internal/verdict"
)

// pair runs every packet on both engines.
type engines struct {
	tester *Tester
	eval   *eval.Evaluator
	// answer is what the kernel made of the last packet, if it rejected it.
	answer []byte
}

func newEngines(t testing.TB, p *policy.Policy) *engines {
	t.Helper()
	tester, err := NewTester(p, Config{})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return &engines{tester: tester, eval: eval.New(p, conntrack.Config{PickUp: true})}
}

// both is what the engines must agree on, in one value.
func (p *engines) run(t interface{ Fatal(...any) }, frame []byte, out bool, now int64) (evaluated, ran TestResult, r eval.Result) {
	r = p.eval.Decide(frame, out, now)
	var err error
	evaluated = TestResult{r.Verdict, r.Reason, -1, r.Packet.State, r.Packet.Direction, r.Packet.Invalid}
	if r.Clause != nil {
		evaluated.Clause = r.Clause.ID
	}
	p.answer, ran, err = p.tester.RunAnswer(frame, out, now)
	if err != nil {
		t.Fatal(err)
	}
	return evaluated, ran, r
}

// tally counts what a run of random packets met, so that a generator that
// stopped reaching something is noticed.
type tally struct {
	sync.Mutex
	reasons [verdict.NumReasons]int
	states  map[packet.State]int
	sctp    map[packet.State]int // of SCTP packets
	invalid [packet.NumInvalid]int
	replies int
	// answers counts them by kind, suppressed those over the limit.
	answers    map[reject.Kind]int
	suppressed int
	// observed counts packets that were to be copied, by class, overlooked those that
	// were not.
	observed   [observedClasses]int
	overlooked int
	// inSet and notInSet count clauses that matched by their set.
	inSet, notInSet int
	// discovery counts clauses that matched by what neighbour discovery says, by
	// field and sign.
	discovery map[string]int
}

func (n *tally) add(r TestResult, proto uint8) {
	n.Lock()
	defer n.Unlock()
	n.reasons[r.Reason]++
	n.states[r.State]++
	n.invalid[r.Invalid]++
	if proto == packet.ProtoSCTP {
		n.sctp[r.State]++
	}
	if r.Direction == packet.Reply {
		n.replies++
	}
}

func (n *tally) observe(class int, ok bool) {
	n.Lock()
	defer n.Unlock()
	if !ok {
		n.overlooked++
		return
	}
	n.observed[class]++
}

func (n *tally) answer(kind reject.Kind, answer []byte) {
	n.Lock()
	defer n.Unlock()
	if kind != reject.None && answer == nil {
		n.suppressed++
		return
	}
	n.answers[kind]++
}

// limited is the answer to a rejected packet, if the limit leaves it one.
func limited(p *packet.Packet, limits *[2]reject.Limit) []byte {
	direction := policy.In
	if p.Out {
		direction = policy.Out
	}
	answer := reject.Answer(p, guestMAC)
	if answer == nil || !limits[direction].Allow(p.Now) {
		return nil
	}
	return answer
}

func (n *tally) addMatched(matched []*policy.Clause) {
	n.Lock()
	defer n.Unlock()
	for _, c := range matched {
		for _, cond := range c.Conditions {
			if f := cond.Terms[0].Field; f == packet.NDTarget || f == packet.NDMAC {
				n.discovery[fmt.Sprintf("%s %t", f, !cond.Negated)]++
			}
		}
		switch {
		case c.IPSet == nil:
		case c.IPSet.Negated:
			n.notInSet++
		default:
			n.inSet++
		}
	}
}

// Loading programs takes its time: a short run by default, a long one with
//
//	go test ./internal/datapath -run TestEnginesAgree -rapid.checks=150
func init() { flag.Set("rapid.checks", "25") }

const enoughChecks = 100

// TestEnginesAgree gives random sequences of packets to random policies, which
// change under way, with random timeouts and quotas: verdict, reason, clause,
// state with the cause of INVALID, direction, the answer to a rejected packet, and
// what is copied to whoever learns must be the same in the evaluator and in the
// kernel, and in the end the connections; what watchers are told must be that. It runs -rapid.checks policies in each of four
// workers; from enoughChecks on, everything must have been met.
func TestEnginesAgree(t *testing.T) {
	needRoot(t)
	met := tally{states: map[packet.State]int{}, sctp: map[packet.State]int{}, answers: map[reject.Kind]int{}, discovery: map[string]int{}}
	t.Run("workers", func(t *testing.T) {
		for i := range 4 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(t *rapid.T) { agree(newSource(t), &met) })
			})
		}
	})
	t.Logf("reasons %v, states %v, of SCTP %v, invalid %v, replies %d, answers %v, %d suppressed, in sets %d, not in sets %d, observed %v, not %d, by neighbour discovery %v",
		met.reasons, met.states, met.sctp, met.invalid, met.replies, met.answers, met.suppressed, met.inSet, met.notInSet, met.observed, met.overlooked, met.discovery)
	if n, _ := strconv.Atoi(flag.Lookup("rapid.checks").Value.String()); n < enoughChecks {
		return
	}
	for kind := reject.None; kind <= reject.Unreachable6; kind++ {
		if met.answers[kind] == 0 {
			t.Errorf("no rejected packet was answered with %s", kind)
		}
	}
	if met.inSet == 0 || met.notInSet == 0 {
		t.Errorf("clauses matched by a set %d times, by a negated one %d times", met.inSet, met.notInSet)
	}
	for class, n := range met.observed {
		if n == 0 || met.overlooked == 0 {
			t.Errorf("packets of class %d were observed %d times, and %d of any were not", class, n, met.overlooked)
		}
	}
	if len(met.discovery) < 4 {
		t.Errorf("clauses matched by neighbour discovery: %v", met.discovery)
	}
	for _, why := range []verdict.Reason{verdict.Clause, verdict.Default, verdict.MalformedIP, verdict.ShortFirstFragment,
		verdict.OverlappingFragment, verdict.OrphanFragment, verdict.FirstFragment, verdict.TableFull} {
		if met.reasons[why] == 0 {
			t.Errorf("no packet met the reason %q", why)
		}
	}
	for state := packet.StateNew; state <= packet.StateUntracked; state <<= 1 {
		if met.states[state] == 0 {
			t.Errorf("no packet had state %d", state)
		}
	}
	for why := range packet.NumInvalid {
		// TestCausesOfInvalid has them.
		seldom := why == packet.InvalidTCPWindow || why == packet.InvalidTCPReset || why == packet.InvalidSCTPState
		if met.invalid[why] == 0 && !seldom {
			t.Errorf("no packet was INVALID for %q", why)
		}
	}
	for _, state := range []packet.State{packet.StateNew, packet.StateEstablished, packet.StateInvalid} {
		if met.sctp[state] == 0 {
			t.Errorf("no SCTP packet had state %d", state)
		}
	}
}

func agree(t *source, met *tally) {
	p, documents := drawPolicy(t)
	p.Observe = drawObserve(t)
	sets, described := drawSets(t)
	documents += described
	quota := DefaultMaxConnections
	if t.chance(30) {
		quota = oneOf(t, []int{1, 2, 3, 4, 5, 9})
	}
	documents += fmt.Sprintf("quota %d\n", quota)
	config := Config{Sets: sets, MaxConnections: uint32(quota), NoPickUp: t.chance(20), Timeouts: drawTimeouts(t)}
	tester, err := NewTester(p, config)
	if err != nil {
		t.Fatalf("%v\n%s", err, documents)
	}
	defer tester.Close()
	both := &engines{tester: tester, eval: eval.New(p, conntrack.Config{PickUp: !config.NoPickUp, MaxConnections: quota, Timeouts: config.Timeouts})}
	both.eval.UseSets(sets)
	watcher := listen(t, tester)
	defer watcher.close()
	now := int64(1e9)
	var answers [2]reject.Limit
	var observed limits
	changes := 100 // when another policy comes into force; never
	if t.chance(30) {
		changes = t.between(1, 99)
	}
	for i := range 100 {
		if i == changes {
			var more string
			p, more = drawPolicy(t)
			p.Observe = drawObserve(t)
			documents += fmt.Sprintf("before packet %d changed to:\n%s", i, more)
			both.swap(t, p, config)
		}
		out := t.chance(50)
		frame := drawFrame(t, out)
		if p.Observe != 0 && t.chance(30) {
			frame = drawTeaching(t, out)
		}
		now += oneOf(t, []int64{20e3, 20e3, 20e3, 20e3, 20e3, 1e9, 3e9, 31e9, 121e9})
		evaluated, ran, r := both.run(t, frame, out, now)
		met.add(ran, r.Packet.LinkProto)
		met.addMatched(r.Matched)
		if evaluated != ran {
			t.Fatalf("packet %d, out %v: %s\nevaluator: %+v\n   kernel: %+v\n%+v\n%s", i, out, hex.EncodeToString(frame), evaluated, ran, r.Packet, documents)
		}
		watcher.hears(t, frame, out, now, ran)
		met.observe(observed.observes(t, tester, &r.Packet, p.Observe, frame, r.Verdict == verdict.Pass))
		var answer []byte
		if r.Verdict == verdict.Reject {
			answer = limited(&r.Packet, &answers)
			met.answer(r.Answer, answer)
		}
		if !bytes.Equal(answer, both.answer) {
			t.Fatalf("packet %d, out %v: %s\nis answered with\n%s\nin the kernel with\n%s\n%+v\n%s", i, out, hex.EncodeToString(frame),
				hex.EncodeToString(answer), hex.EncodeToString(both.answer), r.Packet, documents)
		}
	}
	if err := both.sameConnections(p, now); err != nil {
		t.Fatalf("%v\n%s", err, documents)
	}
}
