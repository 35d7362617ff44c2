package document

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxEntityDepth bounds references within references; a cycle ends there.
const maxEntityDepth = 16

// entities are the internal general entities of a document type.
type entities struct {
	values map[string]string
	// budget is what references may still expand to, in bytes and references
	// over the whole document: small declarations can name each other to
	// gigabytes.
	budget int
}

var predefined = map[string]string{"lt": "<", "gt": ">", "amp": "&", "quot": `"`, "apos": "'"}

var errBudget = errors.New("entities expand to too much text")

// declare reads the internal subset of "DOCTYPE name [ … ]".
func (t *entities) declare(doctype string) error {
	_, subset, found := strings.Cut(doctype, "[")
	if !found {
		return nil
	}
	subset = subset[:max(0, strings.LastIndexByte(subset, ']'))]
	t.values = map[string]string{}
	for {
		subset = strings.TrimLeft(subset, " \t\r\n")
		if subset == "" {
			return nil
		}
		end := declarationEnd(subset)
		if subset[0] != '<' || end < 0 {
			return errors.New("only <!ENTITY name \"text\"> is understood here")
		}
		declaration := subset[:end]
		subset = subset[end:]
		switch {
		case strings.HasPrefix(declaration, "<!ENTITY"):
			if err := t.entity(strings.TrimSuffix(declaration[len("<!ENTITY"):], ">")); err != nil {
				return err
			}
		case strings.HasPrefix(declaration, "<!ATTLIST"):
			// It could give elements attributes that nobody sees.
			return errors.New("attribute lists are not taken: write the attributes where they belong")
		}
	}
}

// declarationEnd is the offset behind the ">" that ends a declaration, or -1.
func declarationEnd(s string) int {
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return -1
}

func (t *entities) entity(declaration string) error {
	declaration = strings.Trim(declaration, " \t\r\n")
	end := strings.IndexAny(declaration, " \t\r\n")
	if end <= 0 || declaration[0] == '%' {
		return errors.New("parameter entities are not understood")
	}
	name, literal := declaration[:end], strings.TrimLeft(declaration[end:], " \t\r\n")
	quote := literal[0]
	if quote != '\'' && quote != '"' {
		return fmt.Errorf("entity %q is external; only <!ENTITY name \"text\"> is understood", name)
	}
	literal, found := strings.CutSuffix(literal[1:], string(quote))
	if !found || strings.IndexByte(literal, quote) >= 0 || strings.IndexByte(literal, '%') >= 0 {
		return fmt.Errorf("entity %q: its text must stand in quotes, without %%", name)
	}
	value, err := t.characterReferences(literal)
	if err != nil {
		return fmt.Errorf("entity %q: %w", name, err)
	}
	if strings.IndexFunc(value, isForbidden) >= 0 {
		return fmt.Errorf("entity %q holds a character that XML does not allow", name)
	}
	if _, again := t.values[name]; !again { // the first declaration binds
		t.values[name] = value
	}
	return nil
}

// characterReferences expands only &#…;, which XML does at the declaration;
// what they leave is read again at each use.
func (t *entities) characterReferences(s string) (string, error) {
	var out strings.Builder
	for {
		i := strings.Index(s, "&#")
		if i < 0 {
			out.WriteString(s)
			return out.String(), nil
		}
		out.WriteString(s[:i])
		name, rest, found := strings.Cut(s[i+1:], ";")
		c, ok := character(name)
		if !found || !ok {
			return "", errors.New("bad character reference")
		}
		out.WriteRune(c)
		s = rest
	}
}

// character reads "#64" or "#x40".
func character(reference string) (rune, bool) {
	digits, base := strings.TrimPrefix(reference, "#"), 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, false
	}
	return rune(n), !isForbidden(rune(n))
}

// isForbidden tells what no XML document holds (XML 1.0 section 2.2).
func isForbidden(c rune) bool {
	return c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c > 0xd7ff && c < 0xe000 || c == 0xfffe || c == 0xffff
}

// decode expands references and normalises white space: line ends everywhere,
// in attribute values each white space character to a blank.
func (t *entities) decode(raw string, attribute bool, depth int) (string, error) {
	if !strings.ContainsAny(raw, "&\t\r\n") {
		return raw, nil
	}
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
		case attribute && (c == '\t' || c == '\r' || c == '\n'):
			out.WriteByte(' ')
		case c == '\r':
			out.WriteByte('\n')
		case c == '&':
			name, _, found := strings.Cut(raw[i+1:], ";")
			if !found {
				return "", errors.New(`"&" begins a reference without ";"`)
			}
			text, err := t.reference(name, attribute, depth)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			i += len(name) + 1
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

func (t *entities) reference(name string, attribute bool, depth int) (string, error) {
	if strings.HasPrefix(name, "#") {
		c, ok := character(name)
		if !ok {
			return "", fmt.Errorf("&%s; is no character", name)
		}
		return string(c), nil
	}
	if text, ok := predefined[name]; ok {
		return text, nil
	}
	value, ok := t.values[name]
	switch t.budget -= 1 + len(value); {
	case !ok:
		return "", fmt.Errorf("entity &%s; is not declared", name)
	case t.budget < 0:
		return "", errBudget
	case depth == maxEntityDepth:
		return "", fmt.Errorf("entity &%s; refers to itself or is nested too deeply", name)
	case strings.IndexByte(value, '<') >= 0:
		return "", fmt.Errorf("entity &%s; holds markup, which is not taken", name)
	}
	return t.decode(value, attribute, depth+1)
}
