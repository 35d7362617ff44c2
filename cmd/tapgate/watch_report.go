package main

import (
	"encoding/hex"
	"encoding/json"
	"net"
	"time"

	"tapgate/client"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// reportShown is a packet's fate for programs, in the words of explanation.
type reportShown struct {
	Time      time.Time `json:"time"`
	Port      string    `json:"port"`
	Direction string    `json:"direction"`
	Packet    string    `json:"packet"`
	// Frame is the first bytes of Length.
	Frame   string `json:"frame"`
	Length  int    `json:"length"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	State   string `json:"state,omitempty"`
	// Invalid is why the state is INVALID.
	Invalid string `json:"invalid,omitempty"`
	// Filter is the port's, that of the rule is in its origin.
	Filter string         `json:"filter"`
	Rule   *client.Clause `json:"rule,omitempty"`
}

func reportJSON(r *client.Report) reportShown {
	return reportShown{
		Time: r.Time, Port: r.Port, Direction: r.Direction, Packet: packet.Text(r.Frame, r.Length, packet.MACs|packet.Numbers),
		Frame: hex.EncodeToString(r.Frame), Length: r.Length, Verdict: r.Verdict, Reason: r.Reason,
		State: reportState(r), Invalid: r.Invalid, Filter: r.Filter, Rule: r.Rule,
	}
}

// printLine prints an object in a line.
func (t *tool) printLine(value any) error {
	encoder := json.NewEncoder(t.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

func reportState(r *client.Report) string {
	if r.State == "" || r.Connection == "" {
		return r.State
	}
	return r.State + ", " + r.Connection + " direction"
}

// reportText is the packet; its MAC addresses are told if the guest's is not.
func reportText(r *client.Report, verbose bool) string {
	if verbose {
		return packet.Text(r.Frame, r.Length, packet.MACs|packet.Numbers)
	}
	if foreign(r) {
		return packet.Text(r.Frame, r.Length, packet.MACs)
	}
	return packet.Text(r.Frame, r.Length, 0)
}

// foreign tells whether the guest's end of a packet has another address than
// its network card. What is for a group is for the guest too.
func foreign(r *client.Report) bool {
	if len(r.Frame) < 12 {
		return false
	}
	end := r.Frame[:6]
	if r.Direction == policy.Out.String() {
		end = r.Frame[6:12]
	} else if end[0]&1 != 0 {
		return false
	}
	return net.HardwareAddr(end).String() != r.Guest
}

// reportCause is why the packet met its fate.
func reportCause(r *client.Report) string {
	cause := r.Reason
	if c := r.Rule; c != nil {
		from := ruleOrigin(c)
		if len(c.Origin.Path) < 2 { // else the last of the path is the filter
			from += " of filter " + c.Origin.Filter
		}
		rule := from + ": " + ruleText(c)
		if r.Decided {
			cause = rule
		} else {
			cause += "; " + rule
		}
	}
	if state := reportState(r); state != "" {
		if r.Invalid != "" {
			state += ": " + r.Invalid
		}
		cause += " (" + state + ")"
	}
	return cause
}
