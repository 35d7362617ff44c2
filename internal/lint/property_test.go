package lint

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/eval"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// packetsEach is how many random packets each policy decides.
const packetsEach = 10_000

// frames are drawn once; policies begin anywhere among them.
var frames = func() [][]byte {
	d := drawer{rand.New(rand.NewPCG(1, 2))}
	list := make([][]byte, 4*packetsEach)
	for i := range list {
		list[i] = d.frame()
	}
	return list
}()

// decide runs packets through a policy.
func decide(p *policy.Policy, d drawer, each func(*eval.Result)) {
	e := eval.New(p, conntrack.Config{PickUp: true})
	start := d.IntN(len(frames))
	for i := range packetsEach {
		r := e.Decide(frames[(start+i)%len(frames)], d.IntN(2) == 0, int64(i)*20_000)
		each(&r)
	}
}

// TestUnreachableRulesNeverDecide holds what is said without any parameter
// against guests with all sorts of them.
func TestUnreachableRulesNeverDecide(t *testing.T) {
	said := 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))}
		filters := d.filters()
		lookup := func(name string) *nwfilter.Filter { return filters[name] }
		findings, err := Run(Input{Filter: "top", Lookup: lookup})
		if err != nil {
			t.Fatal(err)
		}
		never, unmatched := map[nwfilter.Position]*Kind{}, map[nwfilter.Position]bool{}
		for _, f := range findings {
			switch f.Kind {
			case Unreachable, UnreachableChain:
				never[f.Pos] = f.Kind
			case Contradiction:
				unmatched[f.Pos] = true
			}
		}
		said += len(never) + len(unmatched)
		if len(never)+len(unmatched) == 0 {
			return
		}
		p, err := policy.Resolve("top", guestA, d.parameters(), lookup)
		if err != nil {
			return // a list of another length, or an empty range
		}
		decide(p, d, func(r *eval.Result) {
			if r.Clause != nil && never[r.Clause.Origin.Pos] != nil {
				t.Fatalf("%s at %s decided %x\n%s", never[r.Clause.Origin.Pos].ID, r.Clause.Origin.Pos, r.Packet.Frame, show(filters))
			}
			for _, c := range r.Matched {
				if unmatched[c.Origin.Pos] || never[c.Origin.Pos] != nil {
					t.Fatalf("%s matched %x\n%s", c.Origin.Pos, r.Packet.Frame, show(filters))
				}
			}
		})
	})
	if !testing.Short() && said < 20 {
		t.Errorf("only %d rules were called unreachable: the test shows little", said)
	}
}

// TestDeadClausesNeverDecide is the same for single copies, with all values
// known.
func TestDeadClausesNeverDecide(t *testing.T) {
	dead := 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))}
		filters := d.filters()
		l, err := lintPolicy(filters, d.parameters())
		if err != nil {
			return
		}
		is := map[*policy.Clause]cause{}
		for _, w := range l.lists {
			for c, why := range w.dead {
				is[c] = why
			}
		}
		if dead += len(is); len(is) == 0 {
			return
		}
		decide(l.policy, d, func(r *eval.Result) {
			if why, dead := is[r.Clause]; dead && !why.contradiction {
				t.Fatalf("%s of %s decided %x\n%s", r.Clause, r.Clause.Origin, r.Packet.Frame, show(filters))
			}
			for _, c := range r.Matched {
				if _, dead := is[c]; dead {
					t.Fatalf("%s of %s matched %x\n%s", c, c.Origin, r.Packet.Frame, show(filters))
				}
			}
		})
	})
	if !testing.Short() && dead < 50 {
		t.Errorf("only %d clauses were called dead: the test shows little", dead)
	}
}

// TestNothingPassesWhereNothingMay holds the search for ways through the link
// stage against frames: where it finds none, none passes.
func TestNothingPassesWhereNothingMay(t *testing.T) {
	closed := 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))}
		filters := d.filters()
		if d.chance(70) { // most filters that close anything end like this
			top := *filters["top"]
			top.Entries = append(slices.Clone(top.Entries), nwfilter.Entry{Rule: &nwfilter.Rule{Direction: nwfilter.InOut, Priority: 1000, StateMatch: true}})
			filters["top"] = &top
		}
		l, err := lintPolicy(filters, d.parameters())
		if err != nil {
			return
		}
		for _, typ := range []int{packet.EtherTypeVLAN, packet.EtherTypeIPv6, packet.EtherTypeARP} {
			for _, direction := range policy.Directions {
				if _, open := l.passage(l.policy.Link[direction], packetsWith(packet.EtherType, typ)); open {
					continue
				}
				closed++
				decide(l.policy, d, func(r *eval.Result) {
					if r.Verdict.Passes() && int(r.Packet.EtherType) == typ && r.Packet.Out == (direction == policy.Out) {
						t.Fatalf("%x passes %s\n%s", r.Packet.Frame, direction, show(filters))
					}
				})
			}
		}
	})
	if !testing.Short() && closed < 20 {
		t.Errorf("only %d times nothing could pass: the test shows little", closed)
	}
}

// lintPolicy runs the search for what cannot be reached.
func lintPolicy(filters map[string]*nwfilter.Filter, params []nwfilter.Parameter) (*linter, error) {
	lookup := func(name string) *nwfilter.Filter { return filters[name] }
	l := &linter{lists: map[*policy.List]*reach{}, regions: map[*policy.Clause]*region{}, guest: &guest{}}
	var err error
	if l.policy, err = policy.Resolve("top", guestA, params, lookup); err != nil {
		return nil, err
	}
	for _, list := range l.all() {
		l.lists[list] = l.walk(list)
	}
	return l, nil
}

func show(filters map[string]*nwfilter.Filter) string {
	text := ""
	for _, name := range []string{"top", "sub1", "sub2", "sub3"} {
		text += nwfilter.Format(filters[name])
	}
	return text
}
