package main

import (
	"fmt"
	"net/netip"
	"slices"
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
	// Helper reads the connection, if any does.
	Helper string `json:"helper,omitempty"`
	// ExpectedBy is the connection that announced this one.
	ExpectedBy *controlShown `json:"expected_by,omitempty"`
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

// controlShown is a connection in which a helper read an announcement. One that
// is gone has ends in no order.
type controlShown struct {
	Helper     string   `json:"helper"`
	Originator endShown `json:"originator"`
	Responder  endShown `json:"responder"`
	Gone       bool     `json:"gone,omitempty"`
}

func showControl(c *datapath.Control, helper conntrack.Helper) *controlShown {
	if c == nil {
		return nil
	}
	return &controlShown{helper.String(), showEnd(c.Originator()), showEnd(c.Responder()), c.Gone}
}

func showEnd(a netip.AddrPort) endShown { return endShown{a.Addr().String(), a.Port()} }

// controlText is a control connection for people.
func controlText(c *datapath.Control, helper conntrack.Helper) string {
	from, to := c.Ends()
	if c.Gone {
		return fmt.Sprintf("%s between %s and %s, gone", helper, from, to)
	}
	return fmt.Sprintf("%s %s > %s", helper, from, to)
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
		Sent:       datapath.Counter{Packets: c.Packets[0], Bytes: c.Bytes[0]},
		Received:   datapath.Counter{Packets: c.Packets[1], Bytes: c.Bytes[1]},
		ExpectedBy: showControl(c.Control, c.Announced.By),
		Rule:       c.Rule, RuleGone: c.Rule == nil && c.Admitted != 0,
	}
	if c.Helper != conntrack.NoHelper {
		shown.Helper = c.Helper.String()
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
	head := []string{"PROTO", "ORIGINATOR", "RESPONDER", "STATE", "DIRECTION", "AGE", "TIMEOUT", "PACKETS →", "←", "BYTES →", "←", "RULE"}
	anyExpected := slices.ContainsFunc(list, func(c *datapath.Connection) bool { return c.Control != nil })
	if anyExpected {
		head = append(head, "EXPECTED BY")
	}
	rows := &table{rows: [][]string{head}}
	for _, c := range list {
		from, to := c.Ends()
		row := []string{conntrack.ProtoName(c.Proto), from, to, connectionState(&c.Connection), directionName(c.Out),
			c.Age.Round(time.Second).String(), c.Timeout.Round(time.Second).String(),
			fmt.Sprint(c.Packets[0]), fmt.Sprint(c.Packets[1]), fmt.Sprint(c.Bytes[0]), fmt.Sprint(c.Bytes[1]), admittedBy(c)}
		switch {
		case c.Control != nil:
			row = append(row, controlText(c.Control, c.Announced.By))
		case anyExpected:
			row = append(row, "-")
		}
		rows.add(row...)
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
