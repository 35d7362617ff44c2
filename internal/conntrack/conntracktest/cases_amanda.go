package conntracktest

import (
	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// Amanda, with o as the backup server, which asks, and r as the client, which
// announces the ports that o is to connect to.
var amandaCases = helperCases{helper: conntrack.Amanda, proto: packet.ProtoUDP, port: 10080, cases: []helperCase{
	{"reply", `o"Amanda 2.4 REQ HANDLE 0-0 SEQ 1\n" NEW · r"Amanda 2.4 REP HANDLE 0-0 SEQ 1\nCONNECT DATA 1025 MESG 1026 INDEX 1027\nOPTIONS ;\n" · o:5>1025 S REL · o:5>1026 S REL · o:5>1027 S REL · r:1025>5 SA EST`},
	{"all keywords", `o"x" NEW · r"CONNECT DATA 1025 MESG 1026 INDEX 1027 STATE 1028\n" · o:5>1025 S REL · o:5>1026 S REL · o:5>1027 S REL · o:5>1028 S REL`},
	{"over IPv6", `v6 · o"x" NEW · r"CONNECT DATA 1025\n" · o:5>1025 S REL`},
	{"a line without an end", `o"x" NEW · r"CONNECT DATA 1025 " · o:5>1025 S NEW`},
	{"in capitals only", `o"x" NEW · r"connect DATA 1025\nCONNECT data 1026\n" · o:5>1025 S NEW · o:5>1026 S NEW`},
	{"from the server", `o"CONNECT DATA 1025\n" NEW · r:5>1025 S NEW · o:5>1025 S NEW`},
	{"no keyword", `o"x" NEW · r"CONNECT 1025 1026\n" · o:5>1025 S NEW`},
	{"keywords without CONNECT", `o"x" NEW · r"DATA 1025\n" · o:5>1025 S NEW`},
	{"keywords on the next line", `o"x" NEW · r"CONNECT \nDATA 1025\n" · o:5>1025 S NEW`},
	{"only the first CONNECT counts", `o"x" NEW · r"CONNECT MESG 1026\nCONNECT DATA 1025\n" · o:5>1025 S NEW · o:5>1026 S REL`},
	{"CONNECT behind its own beginning", `o"x" NEW · r"CONNECCONNECT DATDATA 1025\n" · o:5>1025 S REL`},
	{"an unused stream", `o"x" NEW · r"CONNECT DATA 1025 MESG -1 INDEX 1026\n" · o:5>1025 S REL · o:5>1 S NEW · o:5>1026 S NEW`},
	{"a port above 65535", `o"x" NEW · r"CONNECT DATA 66561 MESG 1026\n" · o:5>1025 S NEW · o:5>1026 S REL`},
	{"of a port five digits count", `o"x" NEW · r"CONNECT DATA 001025 MESG 10250000 INDEX 1026\n" · o:5>1025 S NEW · o:5>102 S REL · o:5>10250 S REL · o:5>1026 S REL`},
	{"a port with zeros in front", `o"x" NEW · r"CONNECT DATA 01025 MESG 00007\n" · o:5>1025 S REL · o:5>7 S REL`},
	{"behind a word without a number", `o"x" NEW · r"CONNECT DATA x1025 MESG MESG 1026 INDEX 1027\n" · o:5>1025 S NEW · o:5>1026 S NEW · o:5>1027 S NEW`},
	{"behind port 0", `o"x" NEW · r"CONNECT DATA 1025 MESG 00 INDEX 1027\n" · o:5>1025 S REL · o:5>0 S NEW · o:5>1027 S NEW`},
	{"behind five zeros", `o"x" NEW · r"CONNECT DATA 1025 MESG 000001 INDEX 1027\n" · o:5>1025 S REL · o:5>1 S NEW · o:5>1027 S NEW`},
	{"the same keyword again", `o"x" NEW · r"CONNECT DATA 1025 DATA 1026\n" · o:5>1025 S REL · o:5>1026 S REL`},
	{"in another order", `o"x" NEW · r"CONNECT MESG 1026 DATA 1025\n" · o:5>1025 S REL · o:5>1026 S REL`},
	{"split over datagrams", `o"x" NEW · r"CONNECT DATA " · r"1025\n" · o:5>1025 S NEW`},
	{"another host", `o"x" NEW · r"CONNECT DATA 1025\n" · x:5>1025 S NEW · o:5>1025 S REL`},
	{"the other way", `o"x" NEW · r"CONNECT DATA 1025\n" · r:5>1025 S NEW`},
	{"another protocol", `o"x" NEW · r"CONNECT DATA 1025\n" · o:5>1025 udp NEW`},
	{"another port", `o"x" NEW · r"CONNECT DATA 1025\n" · o:5>1026 S NEW`},
	{"once", `o"x" NEW · r"CONNECT DATA 1025\n" · o:5>1025 S REL · o:6>1025 S NEW`},
	{"a reply that a rule drops", `o"x" NEW · r"CONNECT DATA 1025\n"! EST · o:5>1025 S NEW`},
	{"four at a time, the oldest gives way", `o"x" NEW · r"CONNECT DATA 1025 MESG 1026 INDEX 1027 STATE 1028\n" · r"CONNECT DATA 1029\n" · o:5>1025 S NEW · o:5>1026 S REL · o:5>1029 S REL`},
	{"the same again refreshes", `o"x" NEW · r"CONNECT DATA 1025 MESG 1026\n" · +100s · r"CONNECT DATA 1025 MESG 1026\n" · +100s · o:5>1025 S REL · o:5>1026 S REL`},
	{"lives 180 s", `o"x" NEW · r"CONNECT DATA 1025\n" · +179s · o:5>1025 S REL`},
	{"ends after 180 s", `o"x" NEW · r"CONNECT DATA 1025\n" · +180s · o:5>1025 S NEW`},
	{"a reply keeps the control connection for 300 s", `o"x" NEW · r"y" · +299s · o"x"`},
	{"and no longer", `o"x" NEW · r"y" · +300s · o"x" NEW`},
	{"a question keeps it as usual", `o"x" NEW · r"y" · +10s · o"x" · +120s · o"x" NEW`},
	{"the first question before an answer too", `o"x" NEW · +30s · o"x" NEW`},
}, differs: map[string]string{
	"a port above 65535":     byNumber,
	"the same keyword again": "the kernel looks for each keyword once",
}}
