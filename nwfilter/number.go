package nwfilter

import (
	"math"
	"strconv"
	"strings"
)

// cSpace is what C's isspace takes, which libvirt's number parser skips.
const cSpace = " \t\n\v\f\r"

// parseUnsigned reads a number as strtoul does, but to its end. A negative
// number comes back as such.
func parseUnsigned(text string, base int) (n uint64, negative, ok bool) {
	text = strings.TrimLeft(text, cSpace)
	if text != "" && (text[0] == '+' || text[0] == '-') {
		negative, text = text[0] == '-', text[1:]
	}
	if base == 16 && (strings.HasPrefix(text, "0x") || strings.HasPrefix(text, "0X")) {
		text = text[2:]
	}
	n, err := strconv.ParseUint(text, base, 32)
	return n, negative, err == nil
}

// bounds are the least and the greatest number of a numeric attribute.
func (s *AttributeSpec) bounds() (low, high uint64) {
	if s.Max != 0 {
		return s.Min, s.Max
	}
	switch s.Type {
	case U8:
		return s.Min, math.MaxUint8
	case U32:
		return s.Min, math.MaxUint32
	}
	return s.Min, math.MaxUint16
}

// parseNumber reads a name or a number, decimal first: "10" is ten, "ff" 255.
func (s *AttributeSpec) parseNumber(text string) (v Value, caution string, ok bool) {
	if n, ok := s.named(text); ok {
		return s.numberValue(n, false), "", true
	}
	n, negative, ok := parseUnsigned(text, 10)
	hexadecimal := false
	if !ok && s.Type != U16Decimal {
		n, negative, ok = parseUnsigned(text, 16)
		hexadecimal = true
	}
	if !ok {
		return Value{}, "", false
	}
	if negative {
		if s.Type != U32 {
			return Value{}, "", false
		}
		n = -n & math.MaxUint32
		caution = "a negative number wraps around to " + strconv.FormatUint(n, 10)
	}
	if low, high := s.bounds(); n < low || n > high {
		return Value{}, "", false
	}
	return s.numberValue(n, hexadecimal), caution, true
}

func (s *AttributeSpec) named(text string) (uint64, bool) {
	for _, n := range s.Names {
		if strings.EqualFold(n.Name, text) {
			return n.Number, true
		}
	}
	return 0, false
}

// numberValue is a number with its canonical text: the name if it has one,
// else in the base in which it was written.
func (s *AttributeSpec) numberValue(n uint64, hexadecimal bool) Value {
	for _, named := range s.Names {
		if named.Number == n {
			return Value{Number: n, Text: named.Name}
		}
	}
	if hexadecimal && !s.decimal {
		return Value{Number: n, Text: "0x" + strconv.FormatUint(n, 16)}
	}
	return Value{Number: n, Text: strconv.FormatUint(n, 10)}
}
