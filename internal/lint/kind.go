package lint

// Kind is one sort of finding.
type Kind struct {
	// ID is the word by which programs know it.
	ID string
	// About says in a line what it is.
	About string
}

// The kinds.
var (
	Unbindable        = &Kind{"unbindable", "a port cannot be bound to the filter"}
	Contradiction     = &Kind{"contradiction", "the conditions of a rule exclude each other, or the chain it stands in"}
	Unreachable       = &Kind{"unreachable", "earlier rules decide everything that a rule matches"}
	UnreachableChain  = &Kind{"unreachable-chain", "earlier rules decide everything that would enter a chain"}
	NoRule            = &Kind{"no-rule", "an ICMP type with direction inout makes no rule"}
	RelatedNoHelper   = &Kind{"related-without-helper", "nothing can be RELATED where a rule asks for it"}
	VLANBypass        = &Kind{"vlan-bypass", "tagged frames get around the network stage"}
	OtherFamily       = &Kind{"other-family", "only one of IPv4 and IPv6 is closed"}
	MissingVariable   = &Kind{"missing-variable", "a variable has no value"}
	UnusedParameter   = &Kind{"unused-parameter", "nothing uses a parameter"}
	Overridden        = &Kind{"overridden-parameter", "a parameter of the binding takes the place of a reference's"}
	BeforeSpoofing    = &Kind{"accept-before-anti-spoofing", "frames are accepted before their sender is checked"}
	NDUntracked       = &Kind{"neighbour-discovery", "neighbour discovery has no state: rules with states do not accept it"}
	GratuitousFalse   = &Kind{"gratuitous-false", "gratuitous='false' is no condition"}
	StateIgnored      = &Kind{"state-ignored", "statematch='false' discards the state"}
	NegatedList       = &Kind{"negated-list", "a list in a match='no' rule is one rule for each value"}
	DefaultAccept     = &Kind{"default-accept", "what no rule matches is accepted"}
	ChainEnd          = &Kind{"chain-end", "the end of a chain accepts, and the rest of root is skipped"}
	BothWays          = &Kind{"both-ways", "a one-way rule without a state holds in both directions"}
	ChainedNetwork    = &Kind{"network-order", "network-stage rules of filters with a chain come last"}
	ErrorsNeedRelated = &Kind{"icmp-errors", "ICMP errors are RELATED, which nothing accepts"}
	MidStream         = &Kind{"mid-stream", "a TCP connection that is first seen midway is NEW"}
	ARPHardware       = &Kind{"arp-hardware", "MAC addresses in ARP are compared for Ethernet only"}
	STPPriority       = &Kind{"stp-priority", "chains of stp have priority 0 unless they say otherwise"}
)

// Kinds are all of them.
var Kinds = []*Kind{
	Unbindable, Contradiction, Unreachable, UnreachableChain, NoRule, RelatedNoHelper, VLANBypass, OtherFamily,
	MissingVariable, UnusedParameter, Overridden, BeforeSpoofing, NDUntracked, GratuitousFalse, StateIgnored, NegatedList,
	DefaultAccept, ChainEnd, BothWays, ChainedNetwork, ErrorsNeedRelated, MidStream, ARPHardware, STPPriority,
}
