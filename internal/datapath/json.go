package datapath

import (
	"encoding/json"
	"net/netip"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
)

// What follows is how connections, expectations and notices look to programs: with
// names in place of numbers, and without what only the tracker needs.

type connectionJSON struct {
	Protocol   string  `json:"protocol"`
	Originator endJSON `json:"originator"`
	Responder  endJSON `json:"responder"`
	// ICMP is the query of an ICMP connection, Call the number of a GRE one.
	ICMP *icmpJSON `json:"icmp,omitempty"`
	Call uint16    `json:"call,omitempty"`
	// State is TCP's or SCTP's.
	State     string  `json:"state,omitempty"`
	Replied   bool    `json:"replied"`
	Assured   bool    `json:"assured"`
	Related   bool    `json:"related"`
	Direction string  `json:"direction"`
	Age       float64 `json:"age_seconds"`
	Timeout   float64 `json:"timeout_seconds"`
	// Sent is what the originator sent, Received what it got.
	Sent     Counter `json:"sent"`
	Received Counter `json:"received"`
	// Helper reads the connection, if any does.
	Helper string `json:"helper,omitempty"`
	// ExpectedBy is the connection that announced this one.
	ExpectedBy *controlJSON `json:"expected_by,omitempty"`
	// Rule let the first packet pass; null if none did. RuleGone is set if the
	// rule is not in force any more.
	Rule     *Clause `json:"rule"`
	RuleGone bool    `json:"rule_gone,omitempty"`
}

type endJSON struct {
	Address string `json:"address"`
	Port    uint16 `json:"port,omitempty"`
}

type icmpJSON struct {
	Type uint8  `json:"type"`
	Code uint8  `json:"code"`
	ID   uint16 `json:"id"`
}

// controlJSON is a connection in which a helper read an announcement. One that is
// gone has ends in no order.
type controlJSON struct {
	Helper     string  `json:"helper"`
	Originator endJSON `json:"originator"`
	Responder  endJSON `json:"responder"`
	Gone       bool    `json:"gone,omitempty"`
}

func jsonOfControl(c *Control, helper conntrack.Helper) *controlJSON {
	if c == nil {
		return nil
	}
	return &controlJSON{helper.String(), jsonOfEnd(c.Originator()), jsonOfEnd(c.Responder()), c.Gone}
}

func jsonOfEnd(a netip.AddrPort) endJSON { return endJSON{a.Addr().String(), a.Port()} }

// jsonOfDuration are seconds with three digits behind the point.
func jsonOfDuration(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// MarshalJSON is the connection for programs.
func (c *Connection) MarshalJSON() ([]byte, error) {
	from, to := c.Originator(), c.Responder()
	j := connectionJSON{
		Protocol:   conntrack.ProtoName(c.Proto),
		Originator: endJSON{Address: from.Addr().String()},
		Responder:  endJSON{Address: to.Addr().String()},
		State:      c.ProtoState(), Replied: c.SeenReply, Assured: c.Assured, Related: c.Expected,
		Direction: directionName(c.Out), Age: jsonOfDuration(c.Age), Timeout: jsonOfDuration(c.Timeout),
		Sent:       Counter{c.Packets[0], c.Bytes[0]},
		Received:   Counter{c.Packets[1], c.Bytes[1]},
		ExpectedBy: jsonOfControl(c.Control, c.Announced.By),
		Rule:       c.Rule, RuleGone: c.Rule == nil && c.Admitted != 0,
	}
	if c.Helper != conntrack.NoHelper {
		j.Helper = c.Helper.String()
	}
	switch {
	case c.HasPorts():
		j.Originator.Port, j.Responder.Port = from.Port(), to.Port()
	case c.Proto == packet.ProtoICMP || c.Proto == packet.ProtoICMPv6:
		kind, code, id := c.Query()
		j.ICMP = &icmpJSON{kind, code, id}
	default:
		j.Call = max(from.Port(), to.Port())
	}
	return json.Marshal(j)
}

// MarshalJSON is the expectation for programs.
func (e *Expectation) MarshalJSON() ([]byte, error) {
	from := ""
	if e.From.IsValid() {
		from = e.From.String()
	}
	return json.Marshal(struct {
		Protocol string `json:"protocol"`
		// From is who may open the connection; "" is anyone.
		From       string       `json:"from,omitempty"`
		To         endJSON      `json:"to"`
		Timeout    float64      `json:"timeout_seconds"`
		ExpectedBy *controlJSON `json:"expected_by"`
	}{conntrack.ProtoName(e.Proto), from, jsonOfEnd(e.To), jsonOfDuration(e.Timeout), jsonOfControl(e.Control, e.Helper)})
}

var connectionDirections = map[packet.Direction]string{packet.Original: "original", packet.Reply: "reply"}

// MarshalJSON is the report for programs.
func (r *Report) MarshalJSON() ([]byte, error) {
	j := struct {
		Time      time.Time `json:"time"`
		Port      string    `json:"port"`
		Direction string    `json:"direction"`
		Verdict   string    `json:"verdict"`
		Reason    string    `json:"reason"`
		// Decided is set if a rule decided, not only a reason.
		Decided bool   `json:"decided,omitempty"`
		State   string `json:"state,omitempty"`
		// Connection is the packet's direction in its connection.
		Connection string `json:"connection,omitempty"`
		Invalid    string `json:"invalid,omitempty"`
		// Filter is the port's, that of the rule is in its origin.
		Filter   string  `json:"filter"`
		Rule     *Clause `json:"rule,omitempty"`
		Guest    string  `json:"guest"`
		Received bool    `json:"received"`
		// Frame is the first bytes of Length, in base64.
		Frame  []byte `json:"frame"`
		Length int    `json:"length"`
	}{
		Time: r.Time, Port: r.Port, Direction: r.Direction.String(), Verdict: r.Verdict.String(), Reason: r.Reason.String(),
		Decided: r.Reason == verdict.Clause, State: r.State.Name(), Connection: connectionDirections[r.Conn],
		Filter: r.Filter, Rule: r.Clause, Guest: r.Guest, Received: r.Received, Frame: r.Frame, Length: r.Length,
	}
	if r.Invalid != packet.NotInvalid {
		j.Invalid = r.Invalid.String()
	}
	return json.Marshal(j)
}

// MarshalJSON tells the fate of the hidden packets by its name.
func (h *Hidden) MarshalJSON() ([]byte, error) {
	fate := "dropped"
	if h.Passed {
		fate = "passed"
	}
	return json.Marshal(struct {
		Port    string `json:"port"`
		Fate    string `json:"fate"`
		Limited uint64 `json:"limited"`
		Lost    uint64 `json:"lost"`
	}{h.Port, fate, h.Limited, h.Lost})
}
