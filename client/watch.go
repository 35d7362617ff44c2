package client

import (
	"context"
	"iter"
	"strconv"
	"time"
)

// WatchOptions say what a watcher wants to know.
type WatchOptions struct {
	// Ports to watch; all, and those that come later, if empty.
	Ports []string
	// Drops and Passes say which packets.
	Drops, Passes bool
	// Rate bounds the reports of each port in a second, drops and passes each by
	// themselves; 0 is the default, 100.
	Rate int
}

// Notice is one of the things that a watcher is told: exactly one is set.
type Notice struct {
	// Report is a packet.
	Report *Report `json:"report,omitempty"`
	// Hidden are packets that the watcher was not told of.
	Hidden *Hidden `json:"hidden,omitempty"`
	// Watched are the ports that are watched from now on.
	Watched *Watched `json:"watched,omitempty"`
}

// Report is a packet that a port dropped or passed.
type Report struct {
	Time time.Time `json:"time"`
	// Port is empty if it was guarded and released again unseen.
	Port string `json:"port"`
	// Direction is "in" or "out".
	Direction string `json:"direction"`
	// Verdict is "pass", "drop" or "reject", Reason why.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// Decided is set if a rule decided and not another reason.
	Decided bool `json:"decided,omitempty"`
	// State is NEW, ESTABLISHED, RELATED, INVALID or untracked; empty if nobody
	// asked. Connection is the direction in the connection: "original" or "reply".
	State      string `json:"state,omitempty"`
	Connection string `json:"connection,omitempty"`
	// Invalid is why the state is INVALID.
	Invalid string `json:"invalid,omitempty"`
	// Filter is the port's, that of the rule is in its origin.
	Filter string `json:"filter"`
	// Rule decided, or is behind the reason; nil if none is, or if it is not known
	// any more.
	Rule *Clause `json:"rule,omitempty"`
	// Guest is the address of the guest's network card.
	Guest string `json:"guest"`
	// Received tells whether the port's device received the packet: what the guest
	// sends, unless the device is a macvtap.
	Received bool `json:"received"`
	// Frame are the first bytes, up to 256, of Length. JSON has them in base64.
	Frame  []byte `json:"frame"`
	Length int    `json:"length"`
}

// Hidden counts packets that the watcher was not told of since it was last told how
// many.
type Hidden struct {
	// Port is empty for those that come after 16,384 others.
	Port string `json:"port"`
	// Fate is "dropped" or "passed".
	Fate string `json:"fate"`
	// Limited are those beyond the rate, Lost those that the watcher was too slow for.
	Limited uint64 `json:"limited"`
	Lost    uint64 `json:"lost"`
}

// Watched are ports by name.
type Watched struct {
	Ports []string `json:"ports"`
	// Strange ones were bound by another version of tapgate, whose programs tell
	// nothing. Binding them again helps.
	Strange []string `json:"strange,omitempty"`
}

// Watch tells what becomes of packets: at first what is watched, then packets as
// they come, and each second what was left out. It ends without an error when ctx
// ends. It fails with ErrNotGuarded if one of the ports that are asked for is not
// guarded; later they may come and go.
func (c *Client) Watch(ctx context.Context, o WatchOptions) iter.Seq2[*Notice, error] {
	r := get("watch").with("port", o.Ports...).with("drops", strconv.FormatBool(o.Drops)).with("passes", strconv.FormatBool(o.Passes))
	if o.Rate != 0 {
		r = r.with("rate", strconv.Itoa(o.Rate))
	}
	return untilInterrupted(stream[Notice](ctx, c, r))
}
