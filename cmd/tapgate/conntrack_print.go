package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tapgate/client"
)

// endText is an end with its port: 10.0.0.5:80, [fd00::5]:80.
func endText(e client.End) string {
	address, err := netip.ParseAddr(e.Address)
	if err != nil {
		return fmt.Sprintf("%s:%d", e.Address, e.Port)
	}
	return netip.AddrPortFrom(address, e.Port).String()
}

// hasPorts tells whether a protocol's ends have L4 ports.
func hasPorts(protocol string) bool {
	return slices.Contains([]string{"tcp", "udp", "udplite", "sctp"}, protocol)
}

// endTexts are originator and responder; behind the latter stands what a protocol
// without ports has in their place.
func endTexts(c *client.Connection) (originator, responder string) {
	if hasPorts(c.Protocol) {
		return endText(c.Originator), endText(c.Responder)
	}
	originator, responder = c.Originator.Address, c.Responder.Address
	switch {
	case c.ICMP != nil:
		responder += fmt.Sprintf(" type %d code %d id %d", c.ICMP.Type, c.ICMP.Code, c.ICMP.ID)
	case c.Call != 0:
		responder += fmt.Sprintf(" call %d", c.Call)
	}
	return originator, responder
}

// controlText is a control connection for people.
func controlText(c *client.Control) string {
	if c.Gone {
		return fmt.Sprintf("%s between %s and %s, gone", c.Helper, endText(c.Originator), endText(c.Responder))
	}
	return fmt.Sprintf("%s %s > %s", c.Helper, endText(c.Originator), endText(c.Responder))
}

// wholeSeconds is a time for people.
func wholeSeconds(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

func (t *tool) printConnections(list []*client.Connection, all int) {
	if len(list) == 0 {
		fmt.Fprintln(t.stdout, "no connections")
		return
	}
	head := []string{"PROTO", "ORIGINATOR", "RESPONDER", "STATE", "DIRECTION", "AGE", "TIMEOUT", "PACKETS →", "←", "BYTES →", "←", "RULE"}
	anyExpected := slices.ContainsFunc(list, func(c *client.Connection) bool { return c.ExpectedBy != nil })
	if anyExpected {
		head = append(head, "EXPECTED BY")
	}
	rows := &table{rows: [][]string{head}}
	for _, c := range list {
		from, to := endTexts(c)
		row := []string{c.Protocol, from, to, connectionState(c), c.Direction, wholeSeconds(c.Age), wholeSeconds(c.Timeout),
			fmt.Sprint(c.Sent.Packets), fmt.Sprint(c.Received.Packets), fmt.Sprint(c.Sent.Bytes), fmt.Sprint(c.Received.Bytes), admittedBy(c)}
		switch {
		case c.ExpectedBy != nil:
			row = append(row, controlText(c.ExpectedBy))
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
func connectionState(c *client.Connection) string {
	text := "new"
	switch {
	case c.Assured:
		text = "assured"
	case c.Replied:
		text = "replied"
	case c.Related:
		text = "related"
	}
	if c.State != "" {
		text = c.State + " " + text
	}
	return text
}

func admittedBy(c *client.Connection) string {
	switch {
	case c.Rule != nil:
		return ruleOrigin(c.Rule) + ": " + ruleText(c.Rule)
	case c.RuleGone:
		return "a rule that is no more"
	}
	return "no rule stopped it"
}
