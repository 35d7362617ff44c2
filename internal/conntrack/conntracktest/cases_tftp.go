package conntracktest

import (
	"strings"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// TFTP, with o as the client and r as the server.
var tftpCases = helperCases{helper: conntrack.TFTP, proto: packet.ProtoUDP, port: 69, cases: []helperCase{
	{"read", `o"\x00\x01file\x00octet\x00" NEW · r:4000>40000 udp REL · r:4000>40000 udp REL · o:40000>4000 udp EST · r:4000>40000 udp EST`},
	{"write", `o"\x00\x02file\x00octet\x00" NEW · r:4000>40000 udp REL · o:40000>4000 udp EST`},
	{"over IPv6", `v6 · o"\x00\x01" NEW · r:4000>40000 udp REL`},
	{"the opcode is enough", `o"\x00\x01" NEW · r:4000>40000 udp REL`},
	{"half an opcode is not", `o"\x00" NEW · r:4000>40000 udp NEW`},
	{"data is no request", `o"\x00\x03\x00\x01" NEW · r:4000>40000 udp NEW`},
	{"an acknowledgement is none", `o"\x00\x04\x00\x01" NEW · r:4000>40000 udp NEW`},
	{"256 is no opcode", `o"\x01\x00" NEW · r:4000>40000 udp NEW`},
	{"257 is none either", `o"\x01\x01" NEW · r:4000>40000 udp NEW`},
	{"opcode behind a line feed", `o"x\n\x00\x01" NEW · r:4000>40000 udp NEW`},
	{"opcode split over datagrams", `o"\x00" NEW · o"\x01" NEW · r:4000>40000 udp NEW`},
	{"the server's request is answered to the client too", `o"x" NEW · r"\x00\x01" EST · o:69>4000 udp NEW · r:4000>40000 udp REL`},
	{"a request that a rule drops", `o"\x00\x01"! NEW · r:4000>40000 udp NEW`},
	{"another host", `o"\x00\x01" NEW · x:4000>40000 udp NEW · r:4000>40000 udp REL`},
	{"another port", `o"\x00\x01" NEW · r:4000>40001 udp NEW`},
	{"the other way", `o"\x00\x01" NEW · o:4000>40000 udp NEW`},
	{"another protocol", `o"\x00\x01" NEW · r:4000>40000 S NEW`},
	{"once", `o"\x00\x01" NEW · r:4000>40000 udp REL · r:4001>40000 udp NEW`},
	{"once for each request", `o"\x00\x01" NEW · r:4000>40000 udp REL · o"\x00\x01" NEW · r:4001>40000 udp REL`},
	{"used up by a packet that a rule drops", `o"\x00\x01" NEW · r:4000>40000 udp! REL · r:4000>40000 udp NEW`},
	{"ends with the request's connection", `o"\x00\x01" NEW · +29s · r:4000>40000 udp REL · o"\x00\x01" NEW · +30s · r:4001>40000 udp NEW`},
	{"lives 300 s", `o"\x00\x01" NEW · ` + keepAlive(10) + `+9s · r:4000>40000 udp REL`},
	{"ends after 300 s", `o"\x00\x01" NEW · ` + keepAlive(10) + `+10s · r:4000>40000 udp NEW`},
	{"the server's port of the data connection is no control port", `o"\x00\x01" NEW · r:69>40000 udp EST`},
}}

// keepAlive lets a control connection without an answer live 29 s as often, and
// as many more.
func keepAlive(times int) string { return strings.Repeat(`+29s · o"x" NEW · `, times) }
