package nwfilter

import (
	"fmt"
	"strings"

	"tapgate/nwfilter/internal/document"
)

// maxText is where libvirt cuts a comment, in bytes.
const maxText = 256

// ValueError tells why a text is no value of an attribute.
type ValueError struct {
	Text string
	// Expected completes "expected …".
	Expected string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("%s is not %s", document.Quote(e.Text), e.Expected)
}

// ParseValue reads the value of the attribute as it stands in a document: a
// literal of the attribute's type or a reference to a variable. It takes what
// libvirt takes; the error is a *ValueError.
func (s *AttributeSpec) ParseValue(text string) (Value, error) {
	v, _, err := s.parseValue(text)
	return v, err
}

// parseValue also returns a caution: what libvirt silently makes of a text
// that says something else, "" if nothing.
func (s *AttributeSpec) parseValue(text string) (v Value, caution string, err error) {
	if strings.HasPrefix(text, "$") {
		variable, caution, ok := parseVariable(text)
		if !ok {
			return Value{}, "", s.errorOf(text)
		}
		return Value{Variable: variable, Text: "$" + variable.String()}, caution, nil
	}
	ok := true
	switch s.Type {
	case U8, U16, U16Decimal, U32:
		v, caution, ok = s.parseNumber(text)
	case MAC:
		v, caution, ok = parseMAC(text)
	case MACMask:
		v, caution, ok = parseMAC(text)
		ok = ok && isMask(v.Number, 48)
	case IPv4:
		v, ok = addressValue(parseIPv4(text))
	case IPv6:
		v, ok = addressValue(parseIPv6(text))
	case IPv4Mask, IPv6Mask:
		v, ok = s.parsePrefix(text)
	case Bool:
		v, caution = parseBool(text)
	case Text:
		v.Text = document.Cut(text, maxText)
		if v.Text != text {
			caution = fmt.Sprintf("only its first %d bytes are kept", maxText)
		}
	case States:
		v, caution, ok = parseStates(text)
	case TCPFlags:
		v, ok = parseTCPFlags(text)
	case IPSetName:
		v, caution, ok = parseSetName(text)
	case IPSetFlags:
		v, ok = parseSetFlags(text)
	}
	if !ok {
		return Value{}, "", s.errorOf(text)
	}
	return v, caution, nil
}

func parseBool(text string) (Value, string) {
	switch text {
	case "true", "yes", "1":
		return Value{Number: 1, Text: "true"}, ""
	case "false", "no", "0":
		return Value{Text: "false"}, ""
	}
	return Value{Text: "false"}, "everything but true, yes and 1 means false"
}

func (s *AttributeSpec) errorOf(text string) error {
	if strings.HasPrefix(text, "$") {
		return &ValueError{Text: text, Expected: "$NAME, $NAME[index] or $NAME[@iterator], with letters, digits and underscores in the name"}
	}
	return &ValueError{Text: text, Expected: s.Expected()}
}

// Expected describes the attribute's literals: "a number from 0 to 255".
func (s *AttributeSpec) Expected() string {
	switch s.Type {
	case U8, U16, U32, U16Decimal:
		low, high := s.bounds()
		expected := fmt.Sprintf("a number from %d to %d", low, high)
		switch {
		case s.Type == U16Decimal:
			expected += ", in decimal"
		case s.Ethertype:
			expected = fmt.Sprintf("a number from 0x%x to 0x%x", low, high)
		}
		if len(s.Names) > 0 {
			expected += " or one of " + joinNames(s.Names)
		}
		return expected
	case MAC:
		return "a MAC address such as 52:54:00:12:34:56"
	case MACMask:
		return "a MAC mask without holes, such as ff:ff:ff:00:00:00"
	case IPv4:
		return "an IPv4 address such as 10.0.0.1"
	case IPv4Mask:
		return "a prefix length from 0 to 32, or a netmask without holes such as 255.255.255.0"
	case IPv6:
		return "an IPv6 address such as 2001:db8::1"
	case IPv6Mask:
		return "a prefix length from 0 to 128, or an IPv6 mask without holes"
	case Bool:
		return "true or false"
	case States:
		return "a list of NEW, ESTABLISHED, RELATED and INVALID, separated by commas, or NONE"
	case TCPFlags:
		return "MASK/FLAGS such as SYN,ACK/SYN, each a list of FIN, SYN, RST, PSH, ACK and URG, or ALL, or NONE"
	case IPSetName:
		return `the name of a set: at most 31 letters, digits, blanks and "_.:-+"`
	case IPSetFlags:
		return "one to six of src and dst, separated by commas"
	}
	return "text"
}

func joinNames(names []NamedNumber) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = n.Name
	}
	return strings.Join(words, ", ")
}
