package metrics

import (
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/learn"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
)

// other stands for what has no series of its own.
const other = "other"

// reasons are the values of the label reason, by verdict.Reason. They are part
// of what alerts are written against: the sentences may change, these do not.
var reasons = [verdict.NumReasons]string{
	verdict.Clause:              "rule",
	verdict.Default:             "", // passes
	verdict.MalformedIP:         "malformed_ip",
	verdict.ShortFirstFragment:  "short_first_fragment",
	verdict.OverlappingFragment: "overlapping_fragment",
	verdict.Unreadable:          "unreadable",
	verdict.OrphanFragment:      "orphan_fragment",
	verdict.FirstFragment:       "first_fragment",
	verdict.TableFull:           "table_full",
	verdict.Race:                "race",
	verdict.Internal:            "internal",
}

// causes are the values of the label cause, by packet.Invalid.
var causes = [packet.NumInvalid]string{
	packet.NotInvalid:         "",
	packet.InvalidHeader:      "header",
	packet.InvalidLength:      "length",
	packet.InvalidTCPFlags:    "tcp_flags",
	packet.InvalidTCPOpening:  "tcp_opening",
	packet.InvalidTCPState:    "tcp_state",
	packet.InvalidTCPWindow:   "tcp_window",
	packet.InvalidTCPReset:    "tcp_reset",
	packet.InvalidSCTPChunks:  "sctp_chunks",
	packet.InvalidSCTPOpening: "sctp_opening",
	packet.InvalidSCTPTag:     "sctp_tag",
	packet.InvalidSCTPState:   "sctp_state",
	packet.InvalidICMPType:    "icmp_type",
	packet.InvalidICMPAnswer:  "icmp_answer",
	packet.InvalidICMPQuote:   "icmp_quote",
	packet.InvalidICMPError:   "icmp_error",
	packet.InvalidGRE:         "gre",
}

// A stateName is a value of the label state. A port in a state that is not
// covered is not guarded though it could be.
type stateName struct {
	state   datapath.State
	name    string
	covered bool
}

var states = []stateName{
	{datapath.Guarded, "guarded", true},
	{agent.LearningState, "learning", true}, // nothing passes but what teaches
	{datapath.HalfSwapped, "half_swapped", true},
	{datapath.Unguarded, "unguarded", false},
	{datapath.DeviceGone, "device_gone", true}, // nothing passes a device that is not there
	{agent.Waiting, "waiting", true},
	{agent.NotGuarded, "not_guarded", false},
	{datapath.Shut, "shut", true}, // nothing passes; what is amiss is its fault
	{datapath.Foreign, "foreign_program", false},
	{datapath.Elsewhere, "elsewhere", true}, // nobody here can know
}

// nameState gives a state that nobody has thought of yet the name other, and
// takes it for uncovered.
func nameState(s datapath.State) stateName {
	for _, known := range states {
		if known.state == s {
			return known
		}
	}
	return stateName{s, other, false}
}

// sources are the values of the label source of leases.
var sources = []learn.Source{
	learn.ARP, learn.IPv4, learn.IPv6, learn.ND, learn.Offer, learn.DHCP, learn.DHCPv6, learn.DHCPv6Prefix, learn.Operator,
}

var results = []agent.PortResult{agent.PortUpdated, agent.PortUnchanged, agent.PortWaiting, agent.PortFailed}
