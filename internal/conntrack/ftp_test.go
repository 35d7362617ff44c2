package conntrack

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tapgate/internal/packet"
)

func testAddress(text string) packet.U128 {
	a := netip.MustParseAddr(text)
	if a.Is4() {
		return packet.U128{Lo: uint64(be.Uint32(a.AsSlice()))}
	}
	b := a.As16()
	return packet.U128{Hi: be.Uint64(b[:]), Lo: be.Uint64(b[8:])}
}

// announced are the ports that the speaker's text announces.
func announced(d packet.Direction, from, text string) []uint16 {
	who := speaker{address: testAddress(from), family: 4}
	if strings.Contains(from, ":") {
		who.family = 6
	}
	r := registers{state: ftp.start[d-1]}
	var ports []uint16
	for _, c := range []byte(text) {
		if e, ok := r.feed(ftp, &who, c); ok {
			ports = append(ports, e.port)
		}
	}
	return ports
}

func TestFTPGrammar(t *testing.T) {
	const v4, v6 = "10.0.0.1", "fd00::a:1"
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		fact string
		from string
		text string
		want []uint16
	}{
		{"PORT", v4, "PORT 10,0,0,1,4,1\r\n", []uint16{1025}},
		{"PORT ended by CR alone", v4, "PORT 10,0,0,1,4,1\r", []uint16{1025}},
		{"PORT ended by LF alone", v4, "PORT 10,0,0,1,4,1\n", []uint16{1025}},
		{"PORT in any case", v4, "pOrT 10,0,0,1,255,255\r\n", []uint16{65535}},
		{"PORT without an end", v4, "PORT 10,0,0,1,4,1", nil},
		{"PORT behind other lines", v4, "USER x\r\n\r\nPASS y\r\nPORT 10,0,0,1,4,1\r\n", []uint16{1025}},
		{"PORT behind a long line", v4, long + "\nPORT 10,0,0,1,4,1\r\n", []uint16{1025}},
		{"PORT twice", v4, "PORT 10,0,0,1,4,1\r\nPORT 10,0,0,1,4,2\r\n", []uint16{1025, 1026}},
		{"PORT behind LF of another PORT", v4, "PORT 10,0,0,1,4,1\nPORT 10,0,0,1,4,2\n", []uint16{1025, 1026}},
		{"PORT behind a bare CR is no line", v4, "NOOP\rPORT 10,0,0,1,4,1\r\n", nil},
		{"PORT within a line", v4, "STOR PORT 10,0,0,1,4,1\r\n", nil},
		{"PORT behind a space", v4, " PORT 10,0,0,1,4,1\r\n", nil},
		{"PORT behind NUL", v4, "\x00PORT 10,0,0,1,4,1\r\n", nil},
		{"NUL within PORT", v4, "PO\x00RT 10,0,0,1,4,1\r\n", nil},
		{"PORT and something", v4, "PORTS 10,0,0,1,4,1\r\n", nil},
		{"two spaces", v4, "PORT  10,0,0,1,4,1\r\n", nil},
		{"another address", v4, "PORT 10,0,0,2,4,1\r\n", nil},
		{"the address with leading zeros", v4, "PORT 010,00,0,001,4,1\r\n", []uint16{1025}},
		{"an octet above 255", v4, "PORT 266,0,0,1,4,1\r\n", nil},
		{"an octet that overflows 32 bits", v4, "PORT 4294967306,0,0,1,4,1\r\n", nil},
		{"upper port byte above 255", v4, "PORT 10,0,0,1,256,1\r\n", nil},
		{"lower port byte above 255", v4, "PORT 10,0,0,1,4,256\r\n", nil},
		{"port 0", v4, "PORT 10,0,0,1,0,0\r\n", nil},
		{"too few numbers", v4, "PORT 10,0,0,1,4\r\n", nil},
		{"too many numbers", v4, "PORT 10,0,0,1,4,1,1\r\n", nil},
		{"an empty number", v4, "PORT 10,,0,1,4,1\r\n", nil},
		{"a negative number", v4, "PORT 10,0,0,1,4,-1\r\n", nil},
		{"something behind the numbers", v4, "PORT 10,0,0,1,4,1 \r\n", nil},
		{"the next line after a malformed one", v4, "PORT 10,0,0,\r\nPORT 10,0,0,1,4,1\r\n", []uint16{1025}},
		{"a malformed line cut by LF in a number", v4, "PORT 10,0,0,1,4\nPORT 10,0,0,1,4,1\n", []uint16{1025}},
		{"PORT over IPv6", v6, "PORT 10,0,0,1,4,1\r\n", nil},

		{"EPRT", v4, "EPRT |1|10.0.0.1|1025|\r\n", []uint16{1025}},
		{"EPRT counts at the last delimiter", v4, "EPRT |1|10.0.0.1|1025|", []uint16{1025}},
		{"EPRT without the last delimiter", v4, "EPRT |1|10.0.0.1|1025\r\n", nil},
		{"EPRT with another delimiter", v4, "eprt !1!10.0.0.1!65535!\r\n", []uint16{65535}},
		{"EPRT with a letter as delimiter", v4, "EPRT P1P10.0.0.1P1025P\r\n", []uint16{1025}},
		{"the delimiter is forgotten with its line", v4, "EPRT P1P10.0.0.1P1025P\r\nPORT 10,0,0,1,4,2\r\n", []uint16{1025, 1026}},
		{"also after a malformed line", v4, "EPRT P1P10.0.0.1\r\nPORT 10,0,0,1,4,2\r\n", []uint16{1026}},
		{"EPRT with mixed delimiters", v4, "EPRT |1!10.0.0.1|1025|\r\n", nil},
		{"a digit as delimiter", v4, "EPRT 1110.0.0.1110251\r\n", nil},
		{"a space as delimiter", v4, "EPRT  1 10.0.0.1 1025 \r\n", nil},
		{"NUL as delimiter", v4, "EPRT \x001\x0010.0.0.1\x001025\x00\r\n", nil},
		{"a dot as delimiter", v4, "EPRT .1.10.0.0.1.1025.\r\n", nil},
		{"EPRT port 0", v4, "EPRT |1|10.0.0.1|0|\r\n", nil},
		{"EPRT port above 65535", v4, "EPRT |1|10.0.0.1|65536|\r\n", nil},
		{"EPRT port that overflows", v4, "EPRT |1|10.0.0.1|4294968321|\r\n", nil},
		{"EPRT without a port", v4, "EPRT |1|10.0.0.1||\r\n", nil},
		{"EPRT with another address", v4, "EPRT |1|10.0.0.9|1025|\r\n", nil},
		{"EPRT with three octets", v4, "EPRT |1|10.0.1|1025|\r\n", nil},
		{"EPRT with five octets", v4, "EPRT |1|10.0.0.1.1|1025|\r\n", nil},
		{"EPRT of IPv6 over IPv4", v4, "EPRT |2|::a00:1|1025|\r\n", nil},
		{"EPRT of an unknown family", v4, "EPRT |3|10.0.0.1|1025|\r\n", nil},
		{"EPRT of IPv4 over IPv6", v6, "EPRT |1|10.0.0.1|1025|\r\n", nil},

		{"EPRT over IPv6", v6, "EPRT |2|fd00::a:1|1025|\r\n", []uint16{1025}},
		{"IPv6 in capitals", v6, "EPRT |2|FD00::A:1|1025|\r\n", []uint16{1025}},
		{"IPv6 in full", v6, "EPRT |2|fd00:0000:0000:0000:0000:0000:000a:0001|1025|\r\n", []uint16{1025}},
		{"IPv6 without a gap", v6, "EPRT |2|fd00:0:0:0:0:0:a:1|1025|\r\n", []uint16{1025}},
		{"IPv6, gap for one group", v6, "EPRT |2|fd00:0:0:0:0::a:1|1025|\r\n", []uint16{1025}},
		{"IPv6, gap for nothing", v6, "EPRT |2|fd00:0:0:0:0:0::a:1|1025|\r\n", nil},
		{"IPv6 with two gaps", v6, "EPRT |2|fd00::0::a:1|1025|\r\n", nil},
		{"IPv6 with three colons", v6, "EPRT |2|fd00:::a:1|1025|\r\n", nil},
		{"IPv6 with seven groups", v6, "EPRT |2|fd00:0:0:0:0:a:1|1025|\r\n", nil},
		{"IPv6 with nine groups", v6, "EPRT |2|fd00:0:0:0:0:0:0:a:1|1025|\r\n", nil},
		{"IPv6 with nine groups behind a gap", v6, "EPRT |2|::0:fd00:0:0:0:0:0:a:1|1025|\r\n", nil},
		{"IPv6 with five digits", v6, "EPRT |2|0fd00::a:1|1025|\r\n", nil},
		{"IPv6 that ends in a colon", v6, "EPRT |2|fd00::a:1:|1025|\r\n", nil},
		{"IPv6 that begins with a colon", v6, "EPRT |2|:fd00::a:1|1025|\r\n", nil},
		{"IPv6 with a zone", v6, "EPRT |2|fd00::a:1%eth0|1025|\r\n", nil},
		{"IPv6 with a colon as delimiter", v6, "EPRT :2:fd00::a:1:1025:\r\n", nil},
		{"another IPv6 address", v6, "EPRT |2|fd00::a:2|1025|\r\n", nil},
		{"the lower half alone", v6, "EPRT |2|::a:1|1025|\r\n", nil},
		{"gap at the end", "fd00:1::", "EPRT |2|fd00:1::|1025|\r\n", []uint16{1025}},
		{"gap behind seven groups", "1:2:3:4:5:6:7:0", "EPRT |2|1:2:3:4:5:6:7::|1025|\r\n", []uint16{1025}},
		{"gap in front of seven groups", "0:2:3:4:5:6:7:8", "EPRT |2|::2:3:4:5:6:7:8|1025|\r\n", []uint16{1025}},
		{"nothing but a gap", "::1", "EPRT |2|::|1025|\r\n", nil},
		{"every half of IPv6", "1:2:3:4:5:6:7:8", "EPRT |2|1:2:3:4:5:6:7:8|1025|\r\n", []uint16{1025}},
	} {
		t.Run(c.fact, func(t *testing.T) {
			if got := announced(packet.Original, c.from, c.text); !slices.Equal(got, c.want) {
				t.Errorf("%q announces %d, want %d", c.text, got, c.want)
			}
			if got := announced(packet.Reply, c.from, c.text); got != nil {
				t.Errorf("%q announces %d even from the server", c.text, got)
			}
		})
	}
}

func TestFTPReplyGrammar(t *testing.T) {
	const v4, v6 = "10.0.0.2", "fd00::2"
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		fact string
		from string
		text string
		want []uint16
	}{
		{"227", v4, "227 Entering Passive Mode (10,0,0,2,4,2).\r\n", []uint16{1026}},
		{"227 without brackets", v4, "227 10,0,0,2,4,2\r\n", []uint16{1026}},
		{"227 ended by LF", v4, "227 =10,0,0,2,4,2\n227 =10,0,0,2,4,3\n", []uint16{1026, 1027}},
		{"227 counts at the byte behind", v4, "227 10,0,0,2,4,2)", []uint16{1026}},
		{"227 without an end", v4, "227 10,0,0,2,4,2", nil},
		{"227 without a space", v4, "227-(10,0,0,2,4,2)\r\n", nil},
		{"227 with a long text", v4, "227 " + long + "(10,0,0,2,4,2)\r\n", []uint16{1026}},
		{"227 with another number first", v4, "227 Mode 2 (10,0,0,2,4,2)\r\n", nil},
		{"227 with another address", v4, "227 (10,0,0,3,4,2)\r\n", nil},
		{"227 without numbers", v4, "227 Entering\r\n227 (10,0,0,2,4,2)\r\n", []uint16{1026}},
		{"227 with port 0", v4, "227 (10,0,0,2,0,0)\r\n", nil},
		{"227 with an octet above 255", v4, "227 (10,0,0,258,4,2)\r\n", nil},
		{"227 over IPv6", v6, "227 (10,0,0,2,4,2)\r\n", nil},
		{"227 within a line", v4, "220 227 (10,0,0,2,4,2)\r\n", nil},

		{"229", v4, "229 Entering Extended Passive Mode (|||1026|)\r\n", []uint16{1026}},
		{"229 over IPv6", v6, "229 Entering Extended Passive Mode (|||1026|)\r\n", []uint16{1026}},
		{"229 with another delimiter", v6, "229 (!!!1026!)\r\n", []uint16{1026}},
		{"229 with a bracket as delimiter", v6, "229 ((((1026()\r\n", []uint16{1026}},
		{"229 with digits before the bracket", v6, "229 mode 2 (|||1026|)\r\n", []uint16{1026}},
		{"229 with port 0", v6, "229 (|||0|)\r\n", nil},
		{"229 with port 65536", v6, "229 (|||65536|)\r\n", nil},
		{"229 without a port", v6, "229 (||||)\r\n", nil},
		{"229 with an address", v6, "229 (|2|fd00::2|1026|)\r\n", nil},
		{"229 with two delimiters", v6, "229 (||1026|)\r\n", nil},
		{"229 with a second bracket only", v6, "229 (x) (|||1026|)\r\n", nil},
		{"229 without the last delimiter", v6, "229 (|||1026)\r\n", nil},
		{"other replies", v4, "220 hi\r\n2\r\n22\r\n22x (|||1026|)\r\n228 (|||1026|)\r\n", nil},
	} {
		t.Run(c.fact, func(t *testing.T) {
			if got := announced(packet.Reply, c.from, c.text); !slices.Equal(got, c.want) {
				t.Errorf("%q announces %d, want %d", c.text, got, c.want)
			}
			if got := announced(packet.Original, c.from, c.text); got != nil {
				t.Errorf("%q announces %d even from the client", c.text, got)
			}
		})
	}
}
