package conntracktest

import (
	"fmt"
	"strings"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// IRC, with o (10.0.0.111, as one number 167772271) as the client and r as the
// server; x is whom a file is offered to.
var ircCases = helperCases{helper: conntrack.IRC, proto: packet.ProtoTCP, port: 6667, cases: []helperCase{
	{"offer", `open · o"NICK a\r\n" · o"PRIVMSG b :\x01DCC SEND file 167772271 1025 99\x01\r\n" · x:5>1025 S REL · x:5>1025 S REL`},
	{"behind another line in one segment", `open · o"NICK a\r\nPRIVMSG b :\x01DCC SEND file 167772271 1025 99\x01\r\n" · x:5>1025 S REL`},
	{"the server itself", `open · o"PRIVMSG b :\x01DCC CHAT chat 167772271 1025\x01\n" · r:5>1025 S REL`},
	{"any case, blanks in front", `open · o" \r privmsg b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S REL`},
	{"the command in capitals only", `open · o"PRIVMSG b :\x01dcc SEND f 167772271 1025\r\nPRIVMSG b :\x01DCC send f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"all types", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\n" · o"PRIVMSG b :\x01DCC CHAT f 167772271 1026\n" · o"PRIVMSG b :\x01DCC MOVE f 167772271 1027\n" · o"PRIVMSG b :\x01DCC TSEND f 167772271 1028\n" · o"PRIVMSG b :\x01DCC SCHAT f 167772271 1029\n" · x:5>1025 S REL · x:5>1026 S REL · x:5>1027 S REL · x:5>1028 S REL · x:5>1029 S REL`},
	{"another type", `open · o"PRIVMSG b :\x01DCC RESUME f 167772271 1025\r\nPRIVMSG b :\x01DCC SENDS f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"another command", `open · o"NOTICE b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"within a line", `open · o"x PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"counts when its line ends", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025" · x:5>1025 S NEW · o"\n" · x:6>1025 S REL`},
	{"split over segments", `open · o"PRIV" · o"MSG b :\x01DC" · o"C SEND f 1677" · o"72271 10" · o"25\r" · o"\n" · x:5>1025 S REL`},
	{"only the first text counts", `open · o"PRIVMSG b :see :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"a colon without a blank begins no text", `open · o"PRIVMSG b: :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S REL`},
	{"several blanks", `open · o"PRIVMSG  b  :\x01DCC SEND f 167772271  1025\r\n" · x:5>1025 S REL`},
	{"a blank in the word", `open · o"PRIVMSG b :\x01DCC SEND a f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"foreign address", `open · o"PRIVMSG b :\x01DCC SEND f 167772280 1025\r\n" · x:5>1025 S NEW · o:5>1025 S NEW`},
	{"the server's address", `open · o"PRIVMSG b :\x01DCC SEND f 167772274 1025\r\n" · o:5>1025 S NEW · x:5>1025 S NEW`},
	{"an address that overflows", `open · o"PRIVMSG b :\x01DCC SEND f 4462739567 1025\r\nPRIVMSG b :\x01DCC SEND f 18446744073877323887 1025\r\n" · x:5>1025 S NEW`},
	{"port 0", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 0\r\n" · x:5>0 S NEW`},
	{"a port above 65535", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 66561\r\n" · x:5>1025 S NEW`},
	{"a port that overflows", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 4294968321\r\n" · x:5>1025 S NEW`},
	{"without a port", `open · o"PRIVMSG b :\x01DCC SEND f 167772271\r\n" · x:5>1025 S NEW`},
	{"the line after a malformed one", `open · o"PRIVMSG b :\x01DCC SEND f 99999999999 1025\n" · o"PRIVMSG b :\x01DCC SEND f 167772271 1026\n" · x:5>1025 S NEW · x:5>1026 S REL`},
	{"over IPv6", `v6 · open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"from the server", `open · r"PRIVMSG b :\x01DCC SEND f 167772274 1025\r\n" · o:5>1025 S NEW`},
	{"another protocol", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 udp NEW`},
	{"another port", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1026 S NEW`},
	{"another address of the client", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · o:5>1025 S NEW`},
	{"once", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S REL · x:6>1025 S NEW`},
	{"once, whoever it is", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S REL · r:5>1025 S NEW`},
	{"lives 300 s", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · r"x" · o"x" · +299s · x:5>1025 S REL`},
	{"ends after 300 s", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · r"x" · o"x" · r"x" · +300s · x:5>1025 S NEW`},
	{"of a connection that was reset", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · r"x" · r:R · +9s · x:5>1025 S REL`},
	{"of one that is over", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · r"x" · r:R · +10s · x:5>1025 S NEW`},
	{"eight at a time", `open · ` + offers(1025, 1032) + ` · x:5>1025 S REL · x:5>1026 S REL · x:5>1027 S REL · x:5>1028 S REL · x:5>1029 S REL · x:5>1030 S REL · x:5>1031 S REL · x:5>1032 S REL`},
	{"the ninth takes the place of the oldest", `open · ` + offers(1025, 1033) + ` · x:5>1025 S NEW · x:5>1026 S REL · x:5>1033 S REL`},
	{"the tenth that of the next", `open · ` + offers(1025, 1034) + ` · x:5>1025 S NEW · x:5>1026 S NEW · x:5>1027 S REL · x:5>1034 S REL`},
	{"one that was used leaves its place", `open · ` + offers(1025, 1032) + ` · x:5>1028 S REL · ` + offers(1033, 1033) + ` · x:5>1025 S REL · x:5>1033 S REL`},
	{"the same again takes no place, and is the latest", `open · ` + offers(1025, 1032) + ` · ` + offers(1025, 1025) + ` · ` + offers(1033, 1033) + ` · x:5>1025 S REL · x:5>1026 S NEW · x:5>1027 S REL`},
	{"of twenty in one segment the last eight count", `open · ` + offersAtOnce(1025, 1044) + ` · x:5>1036 S NEW · x:5>1037 S REL · x:5>1044 S REL`},

	{"a tab for a blank", `open · o"PRIVMSG b :\x01DCC SEND\tf 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"no colon", `open · o"PRIVMSG b \x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"two blanks in front of the word", `open · o"PRIVMSG b :\x01DCC SEND  f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"behind a prefix", `open · o":nick PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	{"text behind the port", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025x\r\n" · x:5>1025 S REL`},
	{"text behind the address", `open · o"PRIVMSG b :\x01DCC SEND f 167772271x 1025\r\n" · x:5>1025 S NEW`},
	{"a dotted address", `open · o"PRIVMSG b :\x01DCC SEND f 10.0.0.111 1025\r\n" · x:5>1025 S NEW`},
	{"a hexadecimal address", `open · o"PRIVMSG b :\x01DCC SEND f 0xa00006f 1025\r\n" · x:5>1025 S NEW`},
	{"zeros in front", `open · o"PRIVMSG b :\x01DCC SEND f 0167772271 01025\r\n" · x:5>1025 S REL`},
	{"a line that ends in CR", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r" · x:5>1025 S NEW`},
	{"empty lines in front", `open · o"\n\nPRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S REL`},
	{"a negative port", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 -1025\r\n" · x:5>64511 S NEW`},
	{"a short offer", `open · o"PRIVMSG b :\x01DCC CHAT f 167772271 7\n" · x:5>7 S REL`},
}, differs: map[string]string{
	"a short offer":                                 "the kernel overlooks offers in short segments",
	"behind another line in one segment":            byLine,
	"counts when its line ends":                     bySegment,
	"split over segments":                           bySegment,
	"an address that overflows":                     byNumber,
	"a port above 65535":                            byNumber,
	"a port that overflows":                         byNumber,
	"of twenty in one segment the last eight count": byLine,
}}

// offers are the offers of some ports, each a segment.
func offers(first, last int) string {
	var segments []string
	for port := first; port <= last; port++ {
		segments = append(segments, fmt.Sprintf("o%q", offer(port)))
	}
	return strings.Join(segments, " · ")
}

// offersAtOnce are one segment.
func offersAtOnce(first, last int) string {
	var lines strings.Builder
	for port := first; port <= last; port++ {
		lines.WriteString(offer(port))
	}
	return fmt.Sprintf("o%q", lines.String())
}

func offer(port int) string { return fmt.Sprintf("PRIVMSG b :\x01DCC SEND f 167772271 %d\r\n", port) }
