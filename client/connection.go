package client

import (
	"context"
	"iter"
	"strconv"
)

// End is an end of a connection. Protocols without ports have 0.
type End struct {
	Address string `json:"address"`
	Port    uint16 `json:"port,omitempty"`
}

// ICMP is the query that an ICMP connection consists of.
type ICMP struct {
	Type uint8  `json:"type"`
	Code uint8  `json:"code"`
	ID   uint16 `json:"id"`
}

// Control is a connection in which a helper read that another would come. The ends
// of one that is Gone stand in no order.
type Control struct {
	Helper     string `json:"helper"`
	Originator End    `json:"originator"`
	Responder  End    `json:"responder"`
	Gone       bool   `json:"gone,omitempty"`
}

// Connection is a live connection of a port.
type Connection struct {
	// Protocol is a name such as "tcp", or "proto-N".
	Protocol   string `json:"protocol"`
	Originator End    `json:"originator"`
	Responder  End    `json:"responder"`
	// ICMP is the query of an ICMP connection, Call the number of a GRE one.
	ICMP *ICMP  `json:"icmp,omitempty"`
	Call uint16 `json:"call,omitempty"`
	// State is TCP's or SCTP's.
	State string `json:"state,omitempty"`
	// Replied: there were packets both ways. Assured: and more, it is no mere
	// attempt. Related: a helper expected it.
	Replied bool `json:"replied"`
	Assured bool `json:"assured"`
	Related bool `json:"related"`
	// Direction is "out" if the guest opened it, else "in".
	Direction string  `json:"direction"`
	Age       float64 `json:"age_seconds"`
	// Timeout is what is left to it if no packet prolongs it.
	Timeout float64 `json:"timeout_seconds"`
	// Sent is what the originator sent, Received what it got.
	Sent     Counter `json:"sent"`
	Received Counter `json:"received"`
	// Helper reads the connection, if any does.
	Helper string `json:"helper,omitempty"`
	// ExpectedBy is the connection that announced this one.
	ExpectedBy *Control `json:"expected_by,omitempty"`
	// Rule let the first packet pass; nil if none did. RuleGone is set if the rule
	// is not in force any more.
	Rule     *Clause `json:"rule"`
	RuleGone bool    `json:"rule_gone,omitempty"`
}

// Expectation is a connection that a helper waits for.
type Expectation struct {
	Protocol string `json:"protocol"`
	// From is who may open the connection; "" is anyone.
	From       string   `json:"from,omitempty"`
	To         End      `json:"to"`
	Timeout    float64  `json:"timeout_seconds"`
	ExpectedBy *Control `json:"expected_by"`
}

// ConnectionFilter chooses connections. Everything that is set must hold; the zero
// value chooses all.
type ConnectionFilter struct {
	// Proto is the name of a protocol or its number.
	Proto string
	// State is new, replied, assured, related, or a state of TCP or SCTP, in any case.
	State string
	// Address of either end, or the network that it is in.
	Address string
	// Port is the L4 port of either end, 0 any.
	Port uint16
	// Direction is "out" for those that the guest opened, "in" for the others.
	Direction string
}

func (f *ConnectionFilter) apply(r request) request {
	r = r.with("proto", f.Proto).with("state", f.State).with("address", f.Address).with("direction", f.Direction)
	if f.Port != 0 {
		r = r.with("port", strconv.Itoa(int(f.Port)))
	}
	return r
}

// Connections yields a port's live connections in no order.
func (c *Client) Connections(ctx context.Context, port string, f ConnectionFilter) iter.Seq2[*Connection, error] {
	return stream[Connection](ctx, c, f.apply(get("ports", port, "connections")))
}

// Expectations yields what helpers wait for at a port, in no order. State and
// Direction choose nothing among them.
func (c *Client) Expectations(ctx context.Context, port string, f ConnectionFilter) iter.Seq2[*Expectation, error] {
	f.State, f.Direction = "", ""
	return stream[Expectation](ctx, c, f.apply(get("ports", port, "expectations")))
}

// Flush forgets connections of a port and tells how many they were.
func (c *Client) Flush(ctx context.Context, port string, f ConnectionFilter) (int, error) {
	var done struct {
		Flushed int `json:"flushed"`
	}
	err := c.call(ctx, f.apply(remove("ports", port, "connections")), &done)
	return done.Flushed, err
}
