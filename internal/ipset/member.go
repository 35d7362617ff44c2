package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxExpanded bounds what one written member may stand for.
const maxExpanded = 1 << 20

// element is one value of a dimension with the bits of it that count.
type element struct {
	bytes []byte
	bits  int
}

// Add adds a member as the ipset command writes it: "10.0.0.1", "10.0.0.0/8",
// "10.0.0.1-10.0.0.9", "10.0.0.1,tcp:80-90", "10.0.0.0/8 nomatch"; options that
// decide nothing, such as a timeout, are read over.
func (s *Set) Add(text string) error {
	fail := func(err error) error {
		return fmt.Errorf("member %q of the set %q (%s): %w", text, s.Name, s.Type, err)
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return fail(errors.New("it is empty"))
	}
	noMatch := false
	for _, option := range words[1:] {
		noMatch = noMatch || option == "nomatch"
	}
	parts := strings.Split(words[0], ",")
	if len(parts) != len(s.Kinds) {
		return fail(fmt.Errorf("it has %d parts, expected %d", len(parts), len(s.Kinds)))
	}
	all := 1
	values := make([][]element, len(parts))
	for i, part := range parts {
		var err error
		if values[i], err = s.parse(i, part); err != nil {
			return fail(err)
		}
		if all *= len(values[i]); all > maxExpanded {
			return fail(errors.New("it stands for too many members"))
		}
	}
	s.addAll(values, noMatch)
	return nil
}

// addAll adds every combination of the dimensions' values.
func (s *Set) addAll(values [][]element, noMatch bool) {
	order := s.Order()
	var build func(key []byte, bits, at int)
	build = func(key []byte, bits, at int) {
		if at == len(order) {
			s.add(Entry{Key: key, Bits: bits, NoMatch: noMatch})
			return
		}
		for _, v := range values[order[at]] {
			build(append(key[:len(key):len(key)], v.bytes...), len(key)*8+v.bits, at+1)
		}
	}
	build(nil, 0, 0)
}

func (s *Set) parse(dimension int, text string) ([]element, error) {
	switch s.Kinds[dimension] {
	case Port:
		return s.parsePorts(text)
	case MAC:
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("%q is no MAC address", text)
		}
		return []element{macElement(mac)}, nil
	}
	prefixes, err := parsePrefixes(text)
	if err != nil {
		return nil, err
	}
	var list []element
	for _, p := range prefixes {
		if p.Addr().Is4() != (s.Family == 4) {
			return nil, fmt.Errorf("%q is not of the set's address family", text)
		}
		one, err := s.addresses(dimension, p)
		if err != nil {
			return nil, err
		}
		if list = append(list, one...); len(list) > maxExpanded {
			return nil, fmt.Errorf("%q stands for too many addresses", text)
		}
	}
	return list, nil
}

// addresses makes the elements of a prefix. A set of addresses keeps each of
// them under the set's mask, one of networks keeps the prefix.
func (s *Set) addresses(dimension int, p netip.Prefix) ([]element, error) {
	whole := p.Addr().BitLen()
	if s.Kinds[dimension] == Net {
		return []element{{p.Addr().AsSlice(), p.Bits()}}, nil
	}
	kept := whole
	if s.NetMask > 0 {
		kept = s.NetMask
	}
	if p.Bits() >= kept {
		return []element{{p.Addr().AsSlice(), kept}}, nil
	}
	if order := s.Order(); order[len(order)-1] == dimension {
		// Nothing tells the addresses of the prefix from the prefix.
		return []element{{p.Addr().AsSlice(), p.Bits()}}, nil
	}
	if whole-p.Bits() > 20 {
		return nil, fmt.Errorf("%s stands for too many addresses", p)
	}
	var list []element
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		list = append(list, element{a.AsSlice(), whole})
	}
	return list, nil
}

func macElement(mac []byte) element {
	return element{append([]byte{0, 0}, mac...), 64}
}

func portElement(proto uint8, port uint16) element {
	return element{binary.BigEndian.AppendUint16([]byte{proto, 0}, port), 32}
}

var protocolNumbers = map[string]uint8{
	"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ipv6-icmp": 58,
	"sctp": 132, "udplite": 136,
}

// parsePorts reads [PROTO:]PORT[-PORT], and TYPE/CODE for ICMP. A bitmap of
// ports holds for TCP and UDP alike (ip_set_get_ip_port).
func (s *Set) parsePorts(text string) ([]element, error) {
	name, ports, named := strings.Cut(text, ":")
	if !named {
		name, ports = "tcp", text
	}
	proto, ok := protocolNumbers[strings.ToLower(name)]
	if !ok {
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("there is no protocol %q", name)
		}
		proto = uint8(n)
	}
	protos := []uint8{proto}
	if s.Type == "bitmap:port" {
		protos = bitmapProtocols
	}
	if kind, code, ok := strings.Cut(ports, "/"); ok && (proto == 1 || proto == 58) {
		t, err1 := strconv.ParseUint(kind, 10, 8)
		c, err2 := strconv.ParseUint(code, 10, 8)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q is no ICMP type and code, such as 8/0", ports)
		}
		return []element{portElement(proto, uint16(t<<8|c))}, nil
	}
	from, to, isRange := strings.Cut(ports, "-")
	if !isRange {
		to = from
	}
	lo, err1 := strconv.ParseUint(from, 10, 16)
	hi, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || lo > hi {
		return nil, fmt.Errorf("%q is no port or range of ports", ports)
	}
	var list []element
	for _, proto := range protos {
		for port := lo; port <= hi; port++ {
			list = append(list, portElement(proto, uint16(port)))
		}
	}
	return list, nil
}

var bitmapProtocols = []uint8{6, 17}

// parsePrefixes reads an address, a prefix, or a range of addresses.
func parsePrefixes(text string) ([]netip.Prefix, error) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		a, err1 := netip.ParseAddr(from)
		b, err2 := netip.ParseAddr(to)
		if err1 != nil || err2 != nil || a.BitLen() != b.BitLen() || b.Less(a) {
			return nil, fmt.Errorf("%q is no range of addresses", text)
		}
		return prefixesOf(a, b), nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return []netip.Prefix{p.Masked()}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no address", text)
	}
	return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, nil
}

// prefixesOf cuts a range into the fewest prefixes.
func prefixesOf(from, to netip.Addr) []netip.Prefix {
	var list []netip.Prefix
	for {
		p := netip.PrefixFrom(from, from.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(from, p.Bits()-1)
			if wider.Masked().Addr() != from || to.Less(lastOf(wider)) {
				break
			}
			p = wider
		}
		list = append(list, p)
		end := lastOf(p)
		if end == to {
			return list
		}
		from = end.Next()
	}
}

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
