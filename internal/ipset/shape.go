package ipset

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is what one dimension of a set compares.
type Kind uint8

// The kinds.
const (
	// IP is an address; whole, unless the set has a netmask.
	IP Kind = iota
	// Net is an address under a member's own mask.
	Net
	// Port is a protocol with a port, or with ICMP type and code; protocols
	// that have neither have port 0.
	Port
	// MAC is an Ethernet address.
	MAC
)

// Shape is what the look-up in a set depends on. Sets of one shape can take
// each other's place.
type Shape struct {
	// Family is 4 or 6; 0 if packets of both are looked up.
	Family uint8
	// Kinds of the dimensions, in the order of ipsetflags.
	Kinds []Kind
}

var types = map[string][]Kind{
	"hash:ip":          {IP},
	"hash:net":         {Net},
	"hash:mac":         {MAC},
	"hash:ip,mac":      {IP, MAC},
	"hash:ip,port":     {IP, Port},
	"hash:net,port":    {Net, Port},
	"hash:ip,port,ip":  {IP, Port, IP},
	"hash:ip,port,net": {IP, Port, Net},
	"bitmap:ip":        {IP},
	"bitmap:port":      {Port},
}

func shapeOf(typeName string, family uint8) (Shape, error) {
	kinds, ok := types[typeName]
	if !ok {
		known := make([]string, 0, len(types))
		for name := range types {
			known = append(known, name)
		}
		slices.Sort(known)
		return Shape{}, fmt.Errorf("is of type %s, which is not supported; the supported types are %s", typeName, strings.Join(known, " "))
	}
	s := Shape{Kinds: kinds}
	if slices.Contains(kinds, IP) || slices.Contains(kinds, Net) {
		s.Family = family
		if family != 4 && family != 6 {
			return Shape{}, fmt.Errorf("is of the address family %d, which is neither IPv4 nor IPv6", family)
		}
	}
	return s, nil
}

// Equal tells whether the shapes are the same.
func (s Shape) Equal(t Shape) bool { return s.Family == t.Family && slices.Equal(s.Kinds, t.Kinds) }

// Order gives the dimensions in the order of their bytes in a key: the one
// that may have a mask is the last, so that a longest prefix match finds it.
func (s Shape) Order() []int {
	last := slices.Index(s.Kinds, Net)
	if last < 0 {
		last = slices.Index(s.Kinds, IP)
	}
	var order []int
	for i := range s.Kinds {
		if i != last {
			order = append(order, i)
		}
	}
	if last >= 0 {
		order = append(order, last)
	}
	return order
}

// Size is the number of bytes of a dimension in a key, all in network order: an
// address; protocol, 0, port; two zeroes and a MAC address.
func (s Shape) Size(k Kind) int {
	switch {
	case k == Port:
		return 4
	case k == MAC:
		return 8
	case s.Family == 6:
		return 16
	}
	return 4
}

// KeySize is the number of bytes of a key.
func (s Shape) KeySize() int {
	n := 0
	for _, k := range s.Kinds {
		n += s.Size(k)
	}
	return n
}
