// Package nwfilter is libvirt's network filter language: the model of a
// <filter> document, the table of its protocols and attributes, a parser whose
// errors name line and column, and a formatter that prints what libvirt prints.
//
// The package is pure: it reads and writes text and knows no kernel, packet or
// daemon. A Filter is not changed after Parse and may be shared by goroutines.
package nwfilter

import (
	"fmt"
	"net/netip"
)

// Position is a place in a document. Line and Column count from 1, Column in
// bytes; Line 0 means unknown.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Position) String() string {
	file := p.File
	if file == "" {
		file = "filter"
	}
	if p.Line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
}

// RootChain is the name of the chain that every link-stage walk starts in.
const RootChain = "root"

// Filter is one <filter> document.
type Filter struct {
	Name string
	// Chain is "root" or a name that begins with one of the protocol prefixes.
	Chain string
	// ChainPriority is where the root chain jumps to Chain, -1000 … 1000.
	ChainPriority int
	// UUID is lower case and hyphenated; empty if the document gave none.
	UUID string
	// Entries are the rules and references in document order, which breaks
	// ties between equal priorities.
	Entries []Entry
	Pos     Position
}

// Entry is a rule or a reference: exactly one of the two is set.
type Entry struct {
	Rule      *Rule
	Reference *Reference
}

// Reference is a <filterref>: the rules of another filter stand here.
type Reference struct {
	Filter     string
	Parameters []Parameter
	Pos        Position
}

// Parameter is one <parameter>. A repeated name makes a list of values.
type Parameter struct {
	Name  string   `json:"name"`
	Value string   `json:"value"`
	Pos   Position `json:"-"`
}

// Action is what a matching rule does.
type Action uint8

// The actions, in the order of libvirt's documentation.
const (
	Drop Action = iota
	Accept
	Reject
	Return
	Continue
)

// Direction is seen from the guest: Out is sent by it, In is received.
type Direction uint8

// The directions of a rule.
const (
	In Direction = iota
	Out
	InOut
)

// DefaultRulePriority holds for a rule that names none.
const DefaultRulePriority = 500

// Rule is one <rule>.
type Rule struct {
	Action    Action
	Direction Direction
	Priority  int
	// StateMatch is false for statematch='false' or '0'.
	StateMatch bool
	// Protocol is nil for a rule without a protocol element, which is a
	// link-stage rule that matches every frame.
	Protocol *Protocol
	// Attributes stand in the order of the protocol's table, each at most
	// once, with the sign that holds after partners took over each other's
	// (spec: match='no').
	Attributes []Attribute
	// Replaced are attributes with variables that a later element of the same
	// rule overwrote. They are no conditions, but libvirt goes on counting
	// their variables: the lists must exist and have the right length.
	Replaced []Attribute
	Pos      Position
}

// Attribute is one attribute of a rule's protocol element.
type Attribute struct {
	Spec *AttributeSpec
	// Negated is set where the condition must not hold.
	Negated bool
	// Element counts the protocol elements of the rule, from 0: a rule may
	// spread its attributes over several.
	Element int
	Value   Value
	Pos     Position
}

// Value is an attribute's value: a reference to a variable, or a literal.
type Value struct {
	// Variable is set for a value that begins with "$"; of the others only
	// Text is set then.
	Variable *Variable
	// Number holds U8, U16, U32, names that stand for numbers, booleans (0
	// or 1), a MAC address or mask as a 48-bit big-endian number, the prefix
	// length of an IP mask, a set of states (bit 0 NEW, 1 ESTABLISHED,
	// 2 RELATED, 3 INVALID, 4 NONE), and TCP flags as mask<<8 | comparison.
	Number uint64
	// Addr holds IPv4 and IPv6 addresses.
	Addr netip.Addr
	// Text is the value as the formatter prints it, before XML escaping.
	Text string
}

// Variable is a use of a parameter: $NAME, $NAME[@iterator] or $NAME[index].
type Variable struct {
	Name string
	// Index is the element that $NAME[n] names; -1 for an iterator.
	Index int64
	// Iterator is the n of $NAME[@n]; $NAME is $NAME[@0].
	Iterator int
}

// String is the reference without "$", as it stands in libvirt's errors.
func (v Variable) String() string {
	switch {
	case v.Index >= 0:
		return fmt.Sprintf("%s[%d]", v.Name, v.Index)
	case v.Iterator > 0:
		return fmt.Sprintf("%s[@%d]", v.Name, v.Iterator)
	}
	return v.Name
}

var (
	actionNames    = [...]string{"drop", "accept", "reject", "return", "continue"}
	directionNames = [...]string{"in", "out", "inout"}
)

func (a Action) String() string    { return actionNames[a] }
func (d Direction) String() string { return directionNames[d] }
