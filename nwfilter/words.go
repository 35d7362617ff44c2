package nwfilter

import (
	"strings"
)

// The bits of a state attribute's Value.Number.
const (
	StateNew uint64 = 1 << iota
	StateEstablished
	StateRelated
	StateInvalid
	StateNone
)

// The words are tried in this order and printed in it.
var (
	stateWords = []NamedNumber{
		{"NEW", StateNew}, {"ESTABLISHED", StateEstablished}, {"RELATED", StateRelated},
		{"INVALID", StateInvalid}, {"NONE", StateNone},
	}
	// The bits of the TCP header's flags.
	flagWords = []NamedNumber{
		{"FIN", 0x01}, {"SYN", 0x02}, {"RST", 0x04}, {"PSH", 0x08}, {"ACK", 0x10}, {"URG", 0x20},
	}
	flagSets = append([]NamedNumber{{"ALL", allFlags}, {"NONE", 0}}, flagWords...)
)

const allFlags = 0x3f

// parseWords reads a list of words in any case, separated by commas, blanks
// or nothing, into the union of their bits.
func parseWords(text string, words []NamedNumber) (bits uint64, ok bool) {
	for {
		text = strings.TrimLeft(text, ","+cSpace)
		if text == "" {
			return bits, true
		}
		found := false
		for _, w := range words {
			if len(text) >= len(w.Name) && strings.EqualFold(text[:len(w.Name)], w.Name) {
				bits |= w.Number
				text = text[len(w.Name):]
				found = true
				break
			}
		}
		if !found {
			return 0, false
		}
	}
}

func printWords(bits uint64, words []NamedNumber) string {
	var out []string
	for _, w := range words {
		if bits&w.Number != 0 {
			out = append(out, w.Name)
		}
	}
	return strings.Join(out, ",")
}

func parseStates(text string) (v Value, caution string, ok bool) {
	bits, ok := parseWords(text, stateWords)
	if bits == 0 {
		caution = "no state is no condition"
	}
	return statesValue(bits), caution, ok
}

func statesValue(bits uint64) Value {
	if bits&StateNone != 0 {
		bits = StateNone
	}
	return Value{Number: bits, Text: printWords(bits, stateWords)}
}

func parseTCPFlags(text string) (Value, bool) {
	left, right, found := strings.Cut(text, "/")
	mask, ok := parseWords(left, flagSets)
	comparison, alsoOK := parseWords(right, flagSets)
	return Value{
		Number: mask<<8 | comparison,
		Text:   printFlags(mask) + "/" + printFlags(comparison),
	}, found && ok && alsoOK
}

func printFlags(bits uint64) string {
	switch bits {
	case allFlags:
		return "ALL"
	case 0:
		return "NONE"
	}
	return printWords(bits, flagWords)
}

func parseSetName(text string) (v Value, caution string, ok bool) {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-+ "
	if text == "" {
		caution = "it names no set"
	}
	return Value{Text: text}, caution, len(text) <= 31 && strings.Trim(text, characters) == ""
}

// parseSetFlags keeps the order, which is that of the set's dimensions.
func parseSetFlags(text string) (Value, bool) {
	text = strings.ToLower(text)
	words := strings.Split(text, ",")
	for _, w := range words {
		if w != "src" && w != "dst" {
			return Value{}, false
		}
	}
	return Value{Text: text}, len(words) <= 6
}
