package packet

import (
	"maps"
	"slices"
	"strings"
)

// maxPayload keeps a datagram below IP's 65,535 bytes.
const maxPayload = 65000

// tcpFlags are the flags that may be written, as on the wire.
var tcpFlags = map[string]uint8{"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}

// icmpNames are the types that may be written by name.
var icmpNames = map[string]map[string]uint64{
	"icmp": {"echo-reply": 0, "echo-request": 8},
	"icmpv6": {"echo-request": 128, "echo-reply": 129, "router-solicitation": 133, "router-advertisement": 134,
		"neighbor-solicitation": 135, "neighbor-advertisement": 136, "redirect": 137},
}

// numbers are the options that take one: the largest value, and the protocols
// that have them beyond those over IP.
var numbers = map[string]struct {
	most uint64
	only []string
}{
	"ttl": {255, nil}, "dscp": {63, nil},
	"seq": {1<<32 - 1, []string{"tcp", "icmp", "icmpv6"}},
	"ack": {1<<32 - 1, []string{"tcp"}}, "win": {65535, []string{"tcp"}},
	"type": {255, []string{"icmp", "icmpv6"}}, "code": {255, []string{"icmp", "icmpv6"}}, "id": {65535, []string{"icmp", "icmpv6"}},
}

func (n *notation) overIP() bool {
	return n.protocol != "arp" && n.protocol != "rarp" && n.protocol != "ether"
}

// parseOption reads one word behind the addresses, with its number.
func (n *notation) parseOption(w *words) error {
	word := w.peek()
	if word == "len" {
		w.at++
		return n.parseNumber(w, word, maxPayload)
	}
	if t, ok := icmpNames[n.protocol][word]; ok {
		w.at++
		n.icmpType, n.typed = t, true
		return nil
	}
	if n.protocol == "icmpv6" && slices.Contains(discoveryWords, word) {
		w.at++
		return n.parseDiscovery(w, word)
	}
	if _, ok := tcpFlags[word]; ok && n.protocol == "tcp" {
		w.at++
		n.flags[word] = true
		// "ack" alone is the flag; a number behind it is the one acknowledged.
		if next := w.peek(); word != "ack" || next == "" || strings.Trim(next[:1], "0123456789") != "" {
			return nil
		}
		return n.parseNumber(w, word, numbers[word].most)
	}
	o, ok := numbers[word]
	if !ok || !n.overIP() || o.only != nil && !slices.Contains(o.only, n.protocol) {
		return w.expected("one of the words that " + n.protocol + " takes (" + strings.Join(n.vocabulary(), ", ") + ")")
	}
	w.at++
	most := o.most
	if word == "seq" && n.protocol != "tcp" {
		most = 65535
	}
	if word == "type" {
		t, err := w.number("the number behind \"type\"", most)
		n.icmpType, n.typed = t, true
		return err
	}
	return n.parseNumber(w, word, most)
}

func (n *notation) parseNumber(w *words, word string, most uint64) error {
	value, err := w.number("the number behind \""+word+"\"", most)
	n.given[word] = value
	return err
}

// vocabulary are the options of the protocol, for an error.
func (n *notation) vocabulary() []string {
	var list []string
	if n.protocol == "tcp" {
		list = append(list, slices.Sorted(maps.Keys(tcpFlags))...)
	}
	list = append(list, slices.Sorted(maps.Keys(icmpNames[n.protocol]))...)
	if n.protocol == "icmpv6" {
		list = append(list, "target A", "mac MAC")
	}
	for _, word := range slices.Sorted(maps.Keys(numbers)) {
		o := numbers[word]
		if n.overIP() && (o.only == nil || slices.Contains(o.only, n.protocol)) && !slices.Contains(list, word) {
			list = append(list, word+" N")
		}
	}
	return append(list, "len N")
}

// option is an option's value, or its default.
func (n *notation) option(word string, otherwise uint64) uint64 {
	if value, ok := n.given[word]; ok {
		return value
	}
	return otherwise
}
