package conntracktest

import (
	"fmt"
	"strings"
)

// Cases are all sequences.
func Cases() []Case {
	cases := append(append(append([]Case{}, tcpCases...), windowCases...), otherCases...)
	cases = append(append(cases, sctpCases...), sctpFirstCases()...)
	cases = append(cases, flagCases()...)
	cases = append(cases, icmpTypeCases()...)
	cases = append(cases, timeoutCases()...)
	for i := range cases {
		cases[i].Script = expand.Replace(cases[i].Script)
	}
	return cases
}

// expand knows the openings and closings that many sequences begin with.
var expand = strings.NewReplacer(
	"3WHS", "o:S NEW · r:SA EST · o:A EST",
	"CLOSED ·", "o:S NEW · r:SA EST · o:A EST · o:FA EST · r:A EST · r:FA EST · o:A EST [TIME_WAIT] ·",
	"ASSOCIATION", "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(9,cookie-echo) EST · r:sctp(7,cookie-ack) EST [ESTABLISHED]",
)

// flagCases tries every set of the flags FIN, SYN, RST, ACK, URG, with and
// without PSH, ECE and CWR, as a first packet and within a connection.
func flagCases() []Case {
	first := map[string]string{
		"S": "NEW", "SU": "NEW", "SA": "INV", "R": "INV", "RA": "INV",
		"A": "NEW", "AU": "NEW", "FA": "INV", "FAU": "INV",
	}
	known := map[string]string{ // in ESTABLISHED, with sequence numbers that fit
		"S": "EST", "SU": "EST", "SA": "INV", "R": "EST", "RA": "EST",
		"A": "EST", "AU": "EST", "FA": "EST", "FAU": "EST",
	}
	var cases []Case
	for set := range 32 {
		name := ""
		for i, letter := range "FSRAU" {
			if set>>i&1 == 1 {
				name += string(letter)
			}
		}
		for _, more := range []string{"", "P", "EC", "PEC"} {
			flags := name + more
			if flags == "" {
				flags = "none"
			}
			cases = append(cases,
				Case{Name: "first packet " + flags, Script: "o:" + flags + " " + verdict(first, name)},
				Case{Name: "known connection, " + flags, Script: "3WHS · o:" + flags + " " + verdict(known, name)})
		}
	}
	return cases
}

// verdict looks a set of flags up by its letters in any order.
func verdict(verdicts map[string]string, flags string) string {
	for letters, v := range verdicts {
		if len(letters) == len(flags) && strings.Trim(flags, letters) == "" {
			return v
		}
	}
	return "INV"
}

// icmpTypeCases tries all types of ICMP and ICMPv6 without a connection.
func icmpTypeCases() []Case {
	var cases []Case
	for kind := range 256 {
		v4, v6 := "INV", "INV"
		switch kind {
		case 8, 13, 15, 17:
			v4 = "NEW"
		}
		switch kind {
		case 128, 139:
			v6 = "NEW"
		case 130, 131, 132, 133, 134, 135, 136, 143, 151, 152:
			v6 = "UNT"
		}
		cases = append(cases,
			Case{Name: fmt.Sprintf("icmp type %d alone", kind), Script: fmt.Sprintf("o:icmp(%d,0,7) %s", kind, v4)},
			Case{Name: fmt.Sprintf("icmpv6 type %d alone", kind), Script: fmt.Sprintf("v6 · o:icmp(%d,0,7) %s", kind, v6)},
			Case{Name: fmt.Sprintf("icmpv6 type %d, short", kind), Script: fmt.Sprintf("v6 · o:icmp(%d,0,7) cut=7 INV", kind)})
		if kind < 128 {
			about := fmt.Sprintf("v6 · o:udp NEW · r:icmp(%d,0,0) about=o:udp src=x REL/r · o:udp NEW", kind)
			cases = append(cases, Case{Name: fmt.Sprintf("icmpv6 error type %d", kind), Script: about})
		}
	}
	return cases
}
