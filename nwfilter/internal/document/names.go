package document

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// maxFilterName leaves room for ".xml" and a temporary ending in a file name.
const maxFilterName = 245

// FilterName notes a filter's name that is no XML NCName, or no file name.
// libvirt checks nothing and writes to whatever file results.
func (r *Reader) FilterName(e *Element, a *Attribute) {
	switch {
	case !isNCName(a.Value):
		r.Ignore(e, a, fmt.Sprintf("%s cannot be a filter's name", Quote(a.Value)),
			`a name begins with a letter or "_" and goes on with letters, digits, "-", "_" and "."`)
	case len(a.Value) > maxFilterName:
		r.Ignore(e, a, fmt.Sprintf("the name has %d bytes; a filter's name has at most %d", len(a.Value), maxFilterName), "")
	}
}

func isNCName(s string) bool {
	for i, c := range s {
		if !isNameStart(c) && (i == 0 || !isNamePart(c)) {
			return false
		}
	}
	return s != ""
}

// runeRange is inclusive.
type runeRange struct{ low, high rune }

// The ranges of XML 1.0 (fifth edition), productions [4] and [4a], without ":".
var (
	nameStart = []runeRange{
		{'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {0xc0, 0xd6}, {0xd8, 0xf6}, {0xf8, 0x2ff}, {0x370, 0x37d},
		{0x37f, 0x1fff}, {0x200c, 0x200d}, {0x2070, 0x218f}, {0x2c00, 0x2fef}, {0x3001, 0xd7ff},
		{0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff},
	}
	namePart = []runeRange{{'-', '.'}, {'0', '9'}, {0xb7, 0xb7}, {0x300, 0x36f}, {0x203f, 0x2040}}
)

func isNameStart(c rune) bool { return within(c, nameStart) }
func isNamePart(c rune) bool  { return within(c, namePart) }

func within(c rune, ranges []runeRange) bool {
	for _, r := range ranges {
		if c >= r.low && c <= r.high {
			return true
		}
	}
	return false
}

// UUID reads a UUID as liberally as libvirt: 32 hexadecimal digits, with "-"
// and blanks between the pairs and white space around. It returns the lower
// case form 8-4-4-4-12.
func UUID(text string) (string, bool) {
	text = strings.TrimSpace(text)
	var raw [16]byte
	for i := range raw {
		text = strings.TrimLeft(text, "- ")
		if len(text) < 2 {
			return "", false
		}
		if _, err := hex.Decode(raw[i:i+1], []byte(text[:2])); err != nil {
			return "", false
		}
		text = text[2:]
	}
	if text != "" {
		return "", false
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]), true
}
