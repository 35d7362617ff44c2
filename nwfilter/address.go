package nwfilter

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// parseMAC reads six groups of one or two hexadecimal digits. libvirt ignores
// what follows after a blank or control character.
func parseMAC(text string) (v Value, caution string, ok bool) {
	rest := text
	var mac uint64
	for i := range 6 {
		digits := 0
		for digits < len(rest) && digits < 2 && isHex(rest[digits]) {
			digits++
		}
		group, err := strconv.ParseUint(rest[:digits], 16, 8)
		if err != nil {
			return Value{}, "", false
		}
		mac = mac<<8 | group
		rest = rest[digits:]
		switch {
		case i < 5:
			if rest, ok = strings.CutPrefix(rest, ":"); !ok {
				return Value{}, "", false
			}
		case rest != "" && rest[0] > ' ':
			return Value{}, "", false
		case rest != "":
			caution = "what follows the address is ignored"
		}
	}
	return macValue(mac), caution, true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func macValue(mac uint64) Value {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], mac)
	b := raw[2:]
	return Value{Number: mac, Text: fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])}
}

// isMask tells whether the lower width bits are ones followed by zeros.
func isMask(n uint64, width int) bool {
	inverse := ^n & (1<<width - 1)
	return inverse&(inverse+1) == 0
}

// parseIPv4 reads what the C library's inet_aton takes: one to four parts in
// decimal, octal ("0…") or hexadecimal ("0x…"), the last filling what is left.
func parseIPv4(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var address uint64
	for i, part := range parts {
		n, ok := cInteger(part)
		last := i == len(parts)-1
		limit := uint64(math.MaxUint8)
		if last {
			limit = math.MaxUint32 >> (8 * i)
		}
		if !ok || n > limit {
			return netip.Addr{}, false
		}
		if last {
			address |= n
		} else {
			address |= n << (24 - 8*i)
		}
	}
	var raw [4]byte
	binary.BigEndian.PutUint32(raw[:], uint32(address))
	return netip.AddrFrom4(raw), true
}

func cInteger(text string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X"):
		base, text = 16, text[2:]
	case len(text) > 1 && text[0] == '0':
		base, text = 8, text[1:]
	}
	n, err := strconv.ParseUint(text, base, 32)
	return n, err == nil
}

func parseIPv6(text string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(text)
	return address, err == nil && address.Is6() && address.Zone() == ""
}

func addressValue(address netip.Addr, ok bool) (Value, bool) {
	if !ok {
		return Value{}, false
	}
	return Value{Addr: address, Text: addressText(address)}, true
}

// addressText prints an address as the C library does, which writes the last
// 32 bits of ::a.b.c.d dotted.
func addressText(address netip.Addr) string {
	if !address.Is6() {
		return address.String()
	}
	raw := address.As16()
	if [12]byte(raw[:12]) == ([12]byte{}) && (raw[12] != 0 || raw[13] != 0) {
		return "::" + netip.AddrFrom4([4]byte(raw[12:])).String()
	}
	return address.String()
}

// parsePrefix reads a prefix length, or a mask without holes.
func (s *AttributeSpec) parsePrefix(text string) (Value, bool) {
	width := uint64(32)
	if s.Type == IPv6Mask {
		width = 128
	}
	if n, negative, ok := parseUnsigned(text, 10); ok && !negative && n <= width {
		return prefixValue(n), true
	}
	if s.Type == IPv4Mask {
		mask, ok := parseIPv4(text)
		if !ok || strings.Count(text, ".") != 3 {
			return Value{}, false
		}
		raw := mask.As4()
		n := uint64(binary.BigEndian.Uint32(raw[:]))
		return prefixValue(uint64(bits.OnesCount64(n))), isMask(n, 32)
	}
	mask, ok := parseIPv6(text)
	if !ok {
		return Value{}, false
	}
	raw := mask.As16()
	high, low := binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
	ones := bits.OnesCount64(high) + bits.OnesCount64(low)
	whole := isMask(low, 64) && isMask(high, 64) && (low == 0 || ^high == 0)
	return prefixValue(uint64(ones)), whole
}

func prefixValue(n uint64) Value { return Value{Number: n, Text: strconv.FormatUint(n, 10)} }
