// Package verdict names the fates of a packet and their reasons, the same for
// both engines.
package verdict

import "fmt"

// Verdict is a packet's fate.
type Verdict uint8

// The verdicts, numbered as in the eBPF program (maps.h).
const (
	Pass Verdict = iota
	Drop
	Reject
)

var verdictNames = [...]string{"pass", "drop", "reject"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Passes tells whether the packet goes on. A rejected one does not.
func (v Verdict) Passes() bool { return v == Pass }

// Reason is why a packet met its fate where no rule decided.
type Reason uint8

// The reasons, numbered as enum reason in maps.h.
const (
	Clause              Reason = iota // a rule decided
	Default                           // no rule matched
	MalformedIP                       // the IP layer would refuse the header
	ShortFirstFragment                // headers not wholly in the first fragment
	OverlappingFragment               // a later fragment that begins inside the first
	Unreadable                        // header bytes that could not be read
	OrphanFragment                    // a rule needed what only the first fragment tells
	FirstFragment                     // shares the fate of its first fragment
	TableFull                         // no room for a new connection of this port
	Race                              // another packet opened the same connection first
	Internal                          // the program failed
	NumReasons
)

var reasonTexts = [NumReasons]string{
	Clause:              "a rule decided",
	Default:             "no rule matched: accepted",
	MalformedIP:         "malformed IP header",
	ShortFirstFragment:  "first fragment without all of its headers, and a rule needs them",
	OverlappingFragment: "fragment overlaps the first one",
	Unreadable:          "header could not be read",
	OrphanFragment:      "fragment before its first one, and a rule needs its ports or state",
	FirstFragment:       "shares the fate of its first fragment",
	TableFull:           "the port has too many connections",
	Race:                "another packet opened the connection at the same moment",
	Internal:            "internal error of the program",
}

func (r Reason) String() string {
	if r < NumReasons {
		return reasonTexts[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
