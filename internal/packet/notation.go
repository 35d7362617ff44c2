package packet

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Ends are the MAC addresses of a frame whose text names none.
type Ends struct{ Src, Dst net.HardwareAddr }

// TextError tells what is wrong with the text of a frame.
type TextError struct {
	// Word is at fault, "" if the text ends too early.
	Word string
	// Expected is what may stand in its place.
	Expected string
}

func (e *TextError) Error() string {
	if e.Word == "" {
		return "the packet ends where " + e.Expected + " is expected"
	}
	return fmt.Sprintf("expected %s, not %q", e.Expected, e.Word)
}

// FromText makes a frame from its bytes in hexadecimal, or from the notation:
//
//	[MAC > MAC] [vlan N] PROTOCOL FROM > TO [option …]
//
//	tcp|udp|udplite|sctp A[:PORT] > B[:PORT]    IPv6 with a port: [fd00::1]:80
//	    tcp: syn ack fin rst psh urg ece cwr, seq N, ack N, win N
//	icmp|icmpv6 A > B [echo-request|echo-reply|type N [code N]] [id N] [seq N]
//	icmpv6 A > B router-solicitation|router-advertisement|redirect|
//	    neighbor-solicitation|neighbor-advertisement [target A] [mac MAC …]
//	proto N A > B
//	arp|rarp [request|reply] A[/MAC] > B[/MAC]  rarp alone announces the sender
//	ether TYPE [MAC > MAC]
//
// All take "len N", the bytes of payload, and those over IP "ttl N" and
// "dscp N". Errors are *TextError.
func FromText(text string, ends Ends) ([]byte, error) {
	if frame, ok := fromHex(text); ok {
		return frame, nil
	}
	w := &words{list: strings.Fields(strings.ReplaceAll(text, ">", " > "))}
	n := notation{ends: ends}
	if err := n.parse(w); err != nil {
		return nil, err
	}
	return n.craft()
}

// fromHex reads bytes with or without blanks and colons between them.
func fromHex(text string) ([]byte, bool) {
	digits := strings.NewReplacer(" ", "", "\t", "", "\n", "", ":", "").Replace(text)
	frame, err := hex.DecodeString(digits)
	return frame, err == nil && len(frame) > 0
}

type words struct {
	list []string
	at   int
}

func (w *words) peek() string {
	if w.at < len(w.list) {
		return w.list[w.at]
	}
	return ""
}

// take moves on if the next word is the given one.
func (w *words) take(word string) bool {
	if w.peek() != word {
		return false
	}
	w.at++
	return true
}

func (w *words) expected(what string) error { return &TextError{Word: w.peek(), Expected: what} }

func (w *words) number(what string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(w.peek(), 0, 64)
	if err != nil || n > most {
		return 0, w.expected(fmt.Sprintf("%s, a number up to %d,", what, most))
	}
	w.at++
	return n, nil
}

func (w *words) arrow() error {
	if !w.take(">") {
		return w.expected(`">"`)
	}
	return nil
}

func (w *words) mac() (net.HardwareAddr, bool) {
	mac, err := net.ParseMAC(w.peek())
	if err != nil || len(mac) != 6 {
		return nil, false
	}
	w.at++
	return mac, true
}

// notation is a frame's text, read.
type notation struct {
	ends     Ends
	src, dst net.HardwareAddr // as written, else nil
	vlans    []uint16
	protocol string
	number   uint8  // of "proto"
	type_    uint16 // of "ether"

	from, to       netip.AddrPort
	fromMAC, toMAC net.HardwareAddr // in the body of ARP
	reply          bool             // ARP

	flags    map[string]bool
	given    map[string]uint64
	icmpType uint64
	typed    bool

	// Of neighbour discovery: as written, with the last word that only it has.
	target        netip.Addr
	linkAddresses []net.HardwareAddr
	discoveryWord string
}

var protocols = []string{"tcp", "udp", "udplite", "sctp", "icmp", "icmpv6", "proto", "arp", "rarp", "ether"}

func (n *notation) parse(w *words) error {
	if err := n.parseMACs(w); err != nil {
		return err
	}
	for w.take("vlan") {
		id, err := w.number("a VLAN's number", 4095)
		if err != nil {
			return err
		}
		n.vlans = append(n.vlans, uint16(id))
	}
	if !slices.Contains(protocols, w.peek()) {
		return w.expected("a protocol (" + strings.Join(protocols, ", ") + ") or the bytes of a frame in hexadecimal")
	}
	n.protocol = w.peek()
	w.at++
	if err := n.parseEnds(w); err != nil {
		return err
	}
	n.flags, n.given = map[string]bool{}, map[string]uint64{}
	for w.peek() != "" {
		if err := n.parseOption(w); err != nil {
			return err
		}
	}
	return n.checkDiscovery()
}

// parseMACs reads MAC > MAC if it stands there.
func (n *notation) parseMACs(w *words) error {
	src, ok := w.mac()
	if !ok {
		return nil
	}
	if err := w.arrow(); err != nil {
		return err
	}
	dst, ok := w.mac()
	if !ok {
		return w.expected("the destination's MAC address")
	}
	n.src, n.dst = src, dst
	return nil
}

// parseEnds reads what stands between the protocol and its options.
func (n *notation) parseEnds(w *words) error {
	switch n.protocol {
	case "ether":
		number, err := w.number("an ethertype", 0xffff)
		n.type_ = uint16(number)
		if err != nil {
			return err
		}
		return n.parseMACs(w)
	case "arp", "rarp":
		return n.parseARP(w)
	case "proto":
		number, err := w.number("an IP protocol", 255)
		n.number = uint8(number)
		if err != nil {
			return err
		}
	}
	start := w.at
	var err error
	if n.from, err = n.address(w); err != nil {
		return err
	}
	if err := w.arrow(); err != nil {
		return err
	}
	if n.to, err = n.address(w); err != nil {
		return err
	}
	if n.from.Addr().Is4() != n.to.Addr().Is4() {
		return &TextError{Word: w.list[w.at-1], Expected: "an address of the same family as " + w.list[start]}
	}
	return nil
}

// address reads an IP address, with a port where the protocol has one.
func (n *notation) address(w *words) (netip.AddrPort, error) {
	what := "an IP address"
	if n.hasPorts() {
		what = "an address such as 10.0.0.5:22 or [fd00::5]:22"
		if end, err := netip.ParseAddrPort(w.peek()); err == nil && !end.Addr().Is4In6() {
			w.at++
			return end, nil
		}
	}
	addr, err := netip.ParseAddr(strings.Trim(w.peek(), "[]"))
	switch {
	case err != nil || addr.Is4In6() || addr.Zone() != "":
		return netip.AddrPort{}, w.expected(what)
	case addr.Is6() && n.protocol == "icmp":
		return netip.AddrPort{}, w.expected("an IPv4 address (IPv6 has icmpv6)")
	case addr.Is4() && n.protocol == "icmpv6":
		return netip.AddrPort{}, w.expected("an IPv6 address (IPv4 has icmp)")
	}
	w.at++
	return netip.AddrPortFrom(addr, 0), nil
}

func (n *notation) hasPorts() bool {
	return slices.Contains([]string{"tcp", "udp", "udplite", "sctp"}, n.protocol)
}

func (n *notation) parseARP(w *words) error {
	if n.reply = w.take("reply"); !n.reply {
		w.take("request")
	}
	zero := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	n.from, n.to = zero, zero
	if n.protocol == "rarp" && (w.peek() == "" || w.peek() == "len") {
		return nil
	}
	var err error
	if n.from, n.fromMAC, err = arpEnd(w, "the sender"); err != nil {
		return err
	}
	if err := w.arrow(); err != nil {
		return err
	}
	n.to, n.toMAC, err = arpEnd(w, "the target")
	return err
}

// arpEnd reads ADDRESS or ADDRESS/MAC.
func arpEnd(w *words, who string) (netip.AddrPort, net.HardwareAddr, error) {
	fault := w.expected(who + ", an IPv4 address or ADDRESS/MAC,")
	text, macText, hasMAC := strings.Cut(w.peek(), "/")
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is4() {
		return netip.AddrPort{}, nil, fault
	}
	var mac net.HardwareAddr
	if hasMAC {
		if mac, err = net.ParseMAC(macText); err != nil || len(mac) != 6 {
			return netip.AddrPort{}, nil, fault
		}
	}
	w.at++
	return netip.AddrPortFrom(addr, 0), mac, nil
}
