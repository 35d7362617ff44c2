package conntracktest

import (
	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// otherPortCases are of a port whose FTP servers listen elsewhere.
var otherPortCases = helperCases{
	helper: conntrack.FTP, proto: packet.ProtoTCP, port: 2121,
	services: []conntrack.Service{{Helper: conntrack.FTP, Proto: packet.ProtoTCP, Port: 2121}, {Helper: conntrack.IRC, Proto: packet.ProtoTCP, Port: 21}},
	cases: []helperCase{
		{"there it is read", `open · o"NOOP\r\n" · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S REL`},
		{"another helper's commands are not", `open · o"PRIVMSG b :\x01DCC SEND f 167772271 1025\r\n" · x:5>1025 S NEW`},
	},
}

// noHelperCases are of connections that no helper reads.
var noHelperCases = helperCases{
	helper: conntrack.NoHelper, proto: packet.ProtoTCP, port: 21,
	services: []conntrack.Service{{Helper: conntrack.FTP, Proto: packet.ProtoTCP, Port: 2121}, {Helper: conntrack.TFTP, Proto: packet.ProtoUDP, Port: 21}},
	cases: []helperCase{
		{"the usual port", `open · o"PORT 10,0,0,111,4,1\r\n" · r:20>1025 S NEW`},
		{"the client's port is that of a service", `open · o:2121>4000 S NEW · r:20>1025 S NEW`},
		{"another protocol's", `open · o"\x00\x01" · r:4000>40000 udp NEW`},
	},
}
