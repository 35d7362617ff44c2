package nwfilter

import (
	"math"
	"strings"

	"tapgate/nwfilter/internal/document"
)

// maxIterator is the greatest n of $NAME[@n].
const maxIterator = 1000

// parseVariable reads $NAME, $NAME[index] or $NAME[@iterator].
func parseVariable(text string) (v *Variable, caution string, ok bool) {
	name := text[1:]
	end := len(name) - len(strings.TrimLeft(name, document.VariableCharacters))
	name, rest := name[:end], name[end:]
	if name == "" {
		caution = "the variable has no name"
	}
	if rest == "" {
		return &Variable{Name: name, Index: -1}, caution, true
	}
	if rest[0] != '[' {
		return nil, "", false
	}
	inside, after, closed := strings.Cut(rest[1:], "]")
	inside = strings.Trim(inside, cSpace)
	digits, iterator := strings.CutPrefix(inside, "@")
	n, negative, ok := parseUnsigned(digits, 10)
	if !closed || !ok {
		return nil, "", false
	}
	if negative {
		n = -n & math.MaxUint32
		caution = "a negative number wraps around"
	}
	if strings.Trim(after, cSpace) != "" {
		caution = `what follows "]" is ignored`
	}
	switch {
	case !iterator:
		return &Variable{Name: name, Index: int64(n)}, caution, true
	case n <= maxIterator:
		return &Variable{Name: name, Index: -1, Iterator: int(n)}, caution, true
	}
	return nil, "", false
}
