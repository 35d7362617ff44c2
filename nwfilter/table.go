package nwfilter

// Type is the data type of an attribute: which texts it takes and how they
// are printed (spec: data types).
type Type uint8

// The types. Number names the meaning of Value.Number.
const (
	U8 Type = iota + 1
	U16
	U16Decimal
	U32
	MAC
	MACMask
	IPv4
	IPv4Mask // prefix length
	IPv6
	IPv6Mask // prefix length
	Bool
	Text
	States
	TCPFlags
	IPSetName
	IPSetFlags
)

// Stage tells where a protocol's rules are judged.
type Stage uint8

// The two stages every packet passes.
const (
	LinkStage Stage = iota
	NetworkStage
)

// Family is the IP family of a network-stage protocol.
type Family uint8

// The families; FamilyNone for link-stage protocols.
const (
	FamilyNone Family = 0
	FamilyIPv4 Family = 4
	FamilyIPv6 Family = 6
)

// Protocol is one protocol element of the language and its attributes, in
// the order in which they are printed.
type Protocol struct {
	Name       string
	Stage      Stage
	Family     Family
	Attributes []AttributeSpec
}

// AttributeSpec is one attribute of a protocol.
type AttributeSpec struct {
	Name string
	Type Type
	// Min and Max bound a number; both 0 means the whole range of the type.
	Min, Max uint64
	// Names are words that stand for numbers, case-insensitive.
	Names []NamedNumber
	// SignOf is the attribute whose sign this one takes over.
	SignOf string
	// NeedsBase is the attribute without which this one is no condition
	// (a mask without its address, a range's end without its start).
	NeedsBase string
	// OverriddenBy is the attribute beside which this one is no condition (a
	// range beside the address).
	OverriddenBy string
	// NoVariable is set where a variable is accepted but leaves no condition
	// or fails when a port is built.
	NoVariable bool
	// Ethertype is set for numbers that a variable gives in hexadecimal, with
	// "0x" or without: the texts that ebtables takes.
	Ethertype bool
	// decimal is set where a number is printed in decimal even if it was
	// written in hexadecimal.
	decimal bool
}

// NamedNumber is a word that may stand for a number.
type NamedNumber struct {
	Name   string
	Number uint64
}

func (s Stage) String() string {
	if s == LinkStage {
		return "link"
	}
	return "network"
}
