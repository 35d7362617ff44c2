package datapath

import (
	"fmt"
	"net/netip"
	"strings"

	"tapgate/internal/conntrack"
)

// poolData are the ports that control packets announce.
var poolData = []uint16{1, 20, 80, 1024, 1025, 1026, 1027, 5060, 40000}

// drawControl draws what a helper may read, from a speaker about an address
// and ports, now and then cut, repeated or with an odd byte.
func drawControl(t *source, helper conntrack.Helper, speaker netip.Addr) []byte {
	port := func() uint16 { return oneOf(t, poolData) }
	address := speaker
	if t.chance(10) {
		address = netip.MustParseAddr(oneOf(t, poolIPv4))
	}
	dotted, family := address.String(), 1
	if address.Is6() {
		family = 2
	}
	var numbers uint32
	if address.Is4() {
		numbers = be.Uint32(address.AsSlice())
	}
	var text strings.Builder
	for range oneOf(t, []int{1, 1, 1, 2, 3, 9, 20}) {
		if text.Len() > 2000 { // a test run takes no more than 4 KiB
			break
		}
		p := port()
		switch helper {
		case conntrack.FTP:
			six := fmt.Sprintf("%s,%d,%d", strings.ReplaceAll(dotted, ".", ","), p>>8, p&255)
			text.WriteString(oneOf(t, []string{
				"PORT " + six + "\r\n", "port " + six + "\n", "227 ok (" + six + ")\r\n",
				fmt.Sprintf("EPRT |%d|%s|%d|\r\n", family, dotted, p), fmt.Sprintf("EPRT P%dP%sP%dP", family, dotted, p),
				fmt.Sprintf("229 ok (|||%d|)\r\n", p), "USER x\r\n",
			}))
		case conntrack.TFTP:
			text.WriteString(oneOf(t, []string{"\x00\x01f\x00octet\x00", "\x00\x02", "\x00\x03\x00\x01", "\x00"}))
		case conntrack.IRC:
			fmt.Fprintf(&text, "%s :\x01DCC %s f %d %d\x01\r\n", oneOf(t, []string{"PRIVMSG b", " privmsg b ", "NOTICE b"}),
				oneOf(t, []string{"SEND", "CHAT", "SCHAT", "XDCC"}), numbers, p)
		case conntrack.SIP:
			text.WriteString(drawSIP(t, address, port))
		case conntrack.Amanda:
			fmt.Fprintf(&text, "%s DATA %d MESG %d%sINDEX %d%s", oneOf(t, []string{"SEQ 1\nCONNECT", "CONNECT", "CONNEC"}), p, port(),
				oneOf(t, []string{" ", " ", "\n", "000000 "}), port(), oneOf(t, []string{"\n", " STATE 1026\n", ""}))
		}
	}
	b := []byte(text.String())
	if t.chance(10) {
		b = b[:t.between(0, len(b))]
	}
	if t.chance(10) && len(b) > 0 {
		b[t.between(0, len(b)-1)] = oneOf(t, []byte("\n\r 0|,\x00\xffC@:;="))
	}
	return b
}

// helpers are those that control packets are drawn for.
var helpers = []conntrack.Helper{conntrack.FTP, conntrack.TFTP, conntrack.IRC, conntrack.Amanda, conntrack.SIP}
