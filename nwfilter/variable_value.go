package nwfilter

import (
	"net/netip"
	"strings"
)

// ParseVariableValue reads a text that stands for a variable in the attribute
// of a rule of the protocol. The types are the attribute's, but the forms are
// those that mean the same to the tools which libvirt hands the text to: hosts
// and services are never looked up, IPv4 addresses have four decimal parts,
// numbers are decimal or begin with "0x", except that a UDP port is decimal
// and an ethertype always hexadecimal, "0x" or not ("800" is IPv4). The error
// is a *ValueError.
func (s *AttributeSpec) ParseVariableValue(protocol *Protocol, text string) (Value, error) {
	expected := s.Expected()
	var v Value
	ok := false
	switch s.Type {
	case U8, U16, U16Decimal, U32:
		udp := strings.HasPrefix(protocol.Name, "udp") && protocol.Stage == NetworkStage
		decimal := s.Type == U16 && udp
		if decimal {
			expected += ", in decimal"
		}
		v, ok = s.variableNumber(text, decimal)
	case MAC, MACMask:
		v, ok = s.strictLiteral(text)
	case IPv4:
		address, err := netip.ParseAddr(text)
		v, ok = addressValue(address, err == nil && address.Is4())
	case IPv6, IPSetName, IPSetFlags:
		v, ok = s.strictLiteral(text)
	case IPv4Mask, IPv6Mask:
		v, ok = s.strictLiteral(text)
		ok = ok && !strings.ContainsAny(text, cSpace+"+")
	default:
		expected = "possible: a variable cannot stand for " + s.Name
	}
	if !ok {
		return Value{}, &ValueError{Text: text, Expected: expected}
	}
	return v, nil
}

// strictLiteral is a literal that needs no caution, and no further variable.
func (s *AttributeSpec) strictLiteral(text string) (Value, bool) {
	v, caution, err := s.parseValue(text)
	return v, err == nil && caution == "" && v.Variable == nil
}

func (s *AttributeSpec) variableNumber(text string, decimal bool) (Value, bool) {
	if n, ok := s.named(text); ok {
		return s.numberValue(n, false), true
	}
	digits, prefixed := strings.CutPrefix(strings.ToLower(text), "0x")
	hexadecimal := prefixed || s.Ethertype
	base := 10
	if hexadecimal {
		base = 16
	}
	// A leading zero means octal to some tools and nothing to others.
	if digits == "" || !isHex(digits[0]) || decimal && prefixed || !hexadecimal && len(digits) > 1 && digits[0] == '0' {
		return Value{}, false
	}
	n, _, ok := parseUnsigned(digits, base)
	if low, high := s.bounds(); !ok || n < low || n > high {
		return Value{}, false
	}
	return s.numberValue(n, hexadecimal), true
}
