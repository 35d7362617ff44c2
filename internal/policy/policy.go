// Package policy works a binding out: references, variables, chains,
// priorities and mirroring become ordered clauses without any of them. A
// Policy feeds the evaluator and the compiler alike.
package policy

import (
	"fmt"
	"net"
	"strings"

	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// Policy is what one port enforces. It is immutable.
type Policy struct {
	// Filter is the name of the top filter.
	Filter string
	MAC    net.HardwareAddr
	// Link holds the link stage per direction, Network the network stage.
	Link, Network [2]*List
	// Clauses are all clauses of all lists; Clause.ID is the index.
	Clauses []*Clause
	// Facts are what the engines and the differences need to know about it.
	Facts Facts
	// Fingerprint is the same for policies that decide the same; see
	// fingerprint.go.
	Fingerprint uint64
	// Learning is set if the policy depends on addresses that are learned.
	Learning *Learning
	// Observe is what the port's program copies to whoever learns; 0 for nothing.
	Observe packet.Observe

	// names of the clauses, nil if they are not worked out yet.
	names []uint64
}

// Facts sums up what a policy uses.
type Facts struct {
	States     bool // a condition on the state or direction of a connection
	Related    bool // a condition that names RELATED
	TCPOptions bool // a condition on a TCP option
	Discovery  bool // a condition on what neighbour discovery says
	ConnLimit  bool // connlimit-above
	IPSet      bool // ipset
	Reject     bool // reject at the network stage
}

// Direction indexes lists; seen from the guest.
type Direction uint8

// Out is sent by the guest, In received by it.
const (
	In Direction = iota
	Out
)

// Directions in the order of the lists.
var Directions = [...]Direction{In, Out}

func (d Direction) String() string { return nwfilter.Direction(d).String() }

// List is one ordered sequence of clauses. At the link stage jumps to chains
// stand between them.
type List struct {
	Direction Direction
	Stage     nwfilter.Stage
	Items     []Item
}

// Item is a clause or a jump to a chain: exactly one is set.
type Item struct {
	Clause *Clause
	Chain  *Chain
}

// Chain is a chain of the link stage. Its end accepts the frame.
type Chain struct {
	Name     string
	Priority int
	// Conditions decide whether a frame enters the chain.
	Conditions []Condition
	Clauses    []*Clause
}

// Clause is one concrete copy of a rule in one list.
type Clause struct {
	ID         int
	Action     nwfilter.Action
	Conditions []Condition
	// Priority of the rule and Chain of its filter.
	Priority int
	Chain    string
	Rule     *nwfilter.Rule
	// Mirrored is set for the copy with source and destination exchanged.
	Mirrored bool
	Comment  string
	Origin   Origin
	// ConnLimit and IPSet are conditions that need more than the packet.
	ConnLimit *ConnLimit
	IPSet     *IPSet
}

// ConnLimit holds where a source has more than Above live connections
// (negated: at most).
type ConnLimit struct {
	// ID names the count. It stays when the policy changes and the clause does
	// not, so that connections go on counting.
	ID      uint64
	Above   uint64
	Negated bool
}

// IPSet holds where the packet's addresses are in a kernel set.
type IPSet struct {
	Name, Flags string
	Negated     bool
}

// Origin tells where a clause comes from.
type Origin struct {
	Filter string            `json:"filter"`
	Pos    nwfilter.Position `json:"position"`
	// Path are the names of the filters from the top one to Filter.
	Path []string `json:"path,omitempty"`
	// Values are the variables' values in this copy, as NAME=VALUE.
	Values []string `json:"values,omitempty"`
}

func (o Origin) String() string {
	if o.Pos.Line == 0 {
		return o.Pos.String()
	}
	return fmt.Sprintf("%s:%d", o.Pos.File, o.Pos.Line)
}

// Condition holds when all of its terms hold; negated, when they do not all
// hold. Either way the packet must have every field that a term names.
type Condition struct {
	// Attribute is the language's name of what is compared; empty for what
	// the protocol element itself implies.
	Attribute string
	Negated   bool
	Terms     []Term
}

// Op is how a term compares.
type Op uint8

// The comparisons.
const (
	InRange Op = iota // Lo ≤ field & Mask ≤ Hi
	AnyBit            // field & Mask ≠ 0
)

// Term compares one field. Lo and Hi lie within Mask.
type Term struct {
	Field        packet.Field
	Op           Op
	Mask, Lo, Hi packet.U128
}

// String is a clause as a person reads it: the rule's action and conditions.
func (c *Clause) String() string {
	var b strings.Builder
	b.WriteString(c.Action.String())
	for _, cond := range c.Conditions {
		b.WriteByte(' ')
		b.WriteString(cond.String())
	}
	if c.ConnLimit != nil {
		fmt.Fprintf(&b, " %s", c.ConnLimit)
	}
	if c.IPSet != nil {
		b.WriteString(" " + c.IPSet.String())
	}
	return b.String()
}

// List is the list of a direction and stage.
func (p *Policy) List(d Direction, s nwfilter.Stage) *List {
	if s == nwfilter.LinkStage {
		return p.Link[d]
	}
	return p.Network[d]
}

// All calls yield for each clause of the list in order, those of a chain at
// the place of its jump.
func (l *List) All(yield func(*Clause) bool) {
	for _, item := range l.Items {
		if item.Clause != nil {
			if !yield(item.Clause) {
				return
			}
			continue
		}
		for _, c := range item.Chain.Clauses {
			if !yield(c) {
				return
			}
		}
	}
}
