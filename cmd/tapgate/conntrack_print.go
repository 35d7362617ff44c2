package main

import (
	"fmt"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath"
	"tapgate/internal/packet"
)

// connectionShown is a connection for programs.
type connectionShown struct {
	Protocol   string   `json:"protocol"`
	Originator endShown `json:"originator"`
	Responder  endShown `json:"responder"`
	// ICMP is the query of an ICMP connection, Call the number of a GRE one.
	ICMP *icmpShown `json:"icmp,omitempty"`
	Call uint16     `json:"call,omitempty"`
	// State is TCP's or SCTP's.
	State     string  `json:"state,omitempty"`
	Replied   bool    `json:"replied"`
	Assured   bool    `json:"assured"`
	Related   bool    `json:"related"`
	Direction string  `json:"direction"`
	Age       float64 `json:"age_seconds"`
	Timeout   float64 `json:"timeout_seconds"`
	// Sent is what the originator sent, Received what it got.
	Sent     datapath.Counter `json:"sent"`
	Received datapath.Counter `json:"received"`
	// Rule let the first packet pass; null if none did. RuleGone is set if the
	// rule is not in force any more.
	Rule     *datapath.Clause `json:"rule"`
	RuleGone bool             `json:"rule_gone,omitempty"`
}

type endShown struct {
	Address string `json:"address"`
	Port    uint16 `json:"port,omitempty"`
}

type icmpShown struct {
	Type uint8  `json:"type"`
	Code uint8  `json:"code"`
	ID   uint16 `json:"id"`
}

func showConnections(list []*datapath.Connection) []connectionShown {
	shown := make([]connectionShown, len(list))
	for i, c := range list {
		shown[i] = showConnection(c)
	}
	return shown
}

func showConnection(c *datapath.Connection) connectionShown {
	from, to := c.Originator(), c.Responder()
	shown := connectionShown{
		Protocol:   conntrack.ProtoName(c.Proto),
		Originator: endShown{Address: from.Addr().String()},
		Responder:  endShown{Address: to.Addr().String()},
		State:      c.ProtoState(), Replied: c.SeenReply, Assured: c.Assured, Related: c.Expected,
		Direction: directionName(c.Out), Age: seconds(c.Age), Timeout: seconds(c.Timeout),
		Sent:     datapath.Counter{Packets: c.Packets[0], Bytes: c.Bytes[0]},
		Received: datapath.Counter{Packets: c.Packets[1], Bytes: c.Bytes[1]},
		Rule:     c.Rule, RuleGone: c.Rule == nil && c.Admitted != 0,
	}
	switch {
	case c.HasPorts():
		shown.Originator.Port, shown.Responder.Port = from.Port(), to.Port()
	case c.Proto == packet.ProtoICMP || c.Proto == packet.ProtoICMPv6:
		kind, code, id := c.Query()
		shown.ICMP = &icmpShown{kind, code, id}
	default:
		shown.Call = max(from.Port(), to.Port())
	}
	return shown
}

// seconds with three digits behind the point.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

func (t *tool) printConnections(list []*datapath.Connection, all int) {
	if len(list) == 0 {
		fmt.Fprintln(t.stdout, "no connections")
		return
	}
	rows := &table{}
	rows.add("PROTO", "ORIGINATOR", "RESPONDER", "STATE", "DIRECTION", "AGE", "TIMEOUT", "PACKETS →", "←", "BYTES →", "←", "RULE")
	for _, c := range list {
		from, to := c.Ends()
		rows.add(conntrack.ProtoName(c.Proto), from, to, connectionState(&c.Connection), directionName(c.Out),
			c.Age.Round(time.Second).String(), c.Timeout.Round(time.Second).String(),
			fmt.Sprint(c.Packets[0]), fmt.Sprint(c.Packets[1]), fmt.Sprint(c.Bytes[0]), fmt.Sprint(c.Bytes[1]), admittedBy(c))
	}
	rows.flush(t.stdout, "")
	if len(list) < all {
		fmt.Fprintf(t.stdout, "and %s more\n", plural(all-len(list), "older connection"))
	}
}

// connectionState is the protocol's state and how far the connection has come.
func connectionState(c *conntrack.Connection) string {
	text := "new"
	switch {
	case c.Assured:
		text = "assured"
	case c.SeenReply:
		text = "replied"
	case c.Expected:
		text = "related"
	}
	if state := c.ProtoState(); state != "" {
		text = state + " " + text
	}
	return text
}

func admittedBy(c *datapath.Connection) string {
	switch {
	case c.Rule != nil:
		return originText(c.Rule.Origin, c.Rule.Mirrored) + ": " + ruleText(c.Rule)
	case c.Admitted != 0:
		return "a rule that is no more"
	}
	return "no rule stopped it"
}
