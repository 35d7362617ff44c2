package conntracktest

import (
	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// FTP, with o (10.0.0.111, fd00::6f) as the client and r (10.0.0.114, fd00::72)
// as the server.
var ftpCases = helperCases{helper: conntrack.FTP, proto: packet.ProtoTCP, port: 21, cases: []helperCase{
	{"active", `open · o"USER x\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S REL · r:20>1025 S REL · o:1025>20 SA EST · r:20>1025 A EST`},
	{"the first segment counts", `open · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S REL`},
	{"behind another command in one segment", `open · o"USER x\r\nPORT 10,0,0,111,4,1\r\n" · r:20>1025 S REL`},
	{"split over segments", `open · o"POR" · o"T 10,0,0,111,4," · o"1" · o"\r\n" · r:20>1025 S REL`},
	{"split differently when sent again", `open · o"POR" · -3 o"PORT 10,0," · -4 o"0,0,0,111,4,1\r\n" · r:20>1025 S REL`},
	{"active, extended", `open · o"NOOP\r\n" · o"EPRT |1|10.0.0.111|1025|\r\n" · r:20>1025 S REL`},
	{"passive", `open · r"220 hello\r\n" · r"227 Entering Passive Mode (10,0,0,114,4,2).\r\n" · o:4000>1026 S REL · r:1026>4000 SA EST`},
	{"passive, extended", `open · r"220 hello\r\n" · r"229 Entering Extended Passive Mode (|||1026|)\r\n" · o:4000>1026 S REL`},
	{"active over IPv6", `v6 · open · o"NOOP\r\n" · o"EPRT |2|fd00::6f|1025|\r\n" · r:20>1025 S REL`},
	{"passive over IPv6", `v6 · open · r"220 hello\r\n" · r"229 (|||1026|)\r\n" · o:4000>1026 S REL`},
	{"passive, foreign address", `open · r"220 hello\r\n" · r"227 (10,0,0,120,4,2)\r\n" · o:4000>1026 S NEW`},
	{"active, foreign address", `open · o"NOOP\r\n" · o"PORT 10,0,0,120,4,1\r\n" · r:20>1025 S NEW`},
	{"active, the server's address", `open · o"NOOP\r\n" · o"PORT 10,0,0,114,4,1\r\n" · o:4000>1025 S NEW · r:20>1025 S NEW`},
	{"passive, the client's address", `open · r"220 hello\r\n" · r"227 (10,0,0,111,4,2)\r\n" · o:4000>1026 S NEW · r:20>1026 S NEW`},
	{"numbers above 255", `open · o"NOOP\r\n" · o"PORT 10,0,0,367,4,1\r\n" · o"PORT 10,0,0,111,260,1\r\n" · r:20>1025 S NEW`},
	{"incomplete commands pass", `open · o"POR" · o"\r\nPORT\r\n" · o"PORT 10,0,0\r\n" · o"E" · o"\r\nEPRT |2|10.0.0.111|1025|\r\n" · r"229 (|||0|)\r\n" · r:20>1025 S NEW · o:4000>1026 S NEW`},
	{"directions are told apart", `open · r"220 hello\r\n" · r"PORT 10,0,0,114,4,1\r\n" · o"227 (10,0,0,111,4,2)\r\n" · o:4000>1025 S NEW · r:20>1026 S NEW`},
	{"used up by a FIN", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 FA INV · r:20>1025 S NEW`},
	{"used up by a SYN that a rule drops", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S! REL · r:20>1025 S NEW`},
	{"another host", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · x:20>1025 S NEW · r:20>1025 S REL`},
	{"any source port, once", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r:777>1025 S REL · r:20>1025 S NEW`},
	{"another port", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r:20>1026 S NEW`},
	{"the other way", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · o:4000>1025 S NEW`},
	{"replaced by the next", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · o"PORT 10,0,0,111,4,2\r\n" · r:20>1025 S NEW · r:20>1026 S REL`},
	{"lives 300 s", `open · o"NOOP\r\n" · r"200 ok\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r"200 ok\r\n" · o"LIST\r\n" · +299s · r:20>1025 S REL`},
	{"ends after 300 s", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r"200 ok\r\n" · o"LIST\r\n" · r"150 ok\r\n" · +300s · r:20>1025 S NEW`},
	{"a repeated command prolongs nothing", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r"200 ok\r\n" · +200s · -21 o"PORT 10,0,0,111,4,1\r\n" · r"200 ok\r\n" · +100s · r:20>1025 S NEW`},
	{"of a control connection that was reset", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · o:R · +9s · r:20>1025 S REL`},
	{"of one that is over", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · o:R · +10s · r:20>1025 S NEW`},
	{"an existing connection stays NEW", `open · o"NOOP\r\n" · r:20>1025 S NEW · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S NEW · r:21>1025 S REL`},
	{"behind a gap", `open · o"NOOP\r\n" · +3 o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S NEW · o"PORT 10,0,0,111,4,1\r\n" · r:20>1026 S NEW · r:21>1025 S REL`},
}, differs: map[string]string{
	"the first segment counts":              "the kernel reads only behind the end of a line that it saw",
	"behind another command in one segment": byLine,
	"split over segments":                   bySegment,
	"split differently when sent again":     bySegment,
	"numbers above 255":                     byNumber,
	"a repeated command prolongs nothing":   "the kernel reads what is sent again as if it were new",
}}
