// Package document reads XML into a small tree whose elements and attributes
// know their line and column, and collects what a reader has to say about it.
// Filters and bindings share it.
package document

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	// MaxSize is the longest document, in bytes: libvirt's limit for a string
	// in its protocol.
	MaxSize = 4 << 20
	// maxDepth is libxml2's own limit.
	maxDepth = 256
	// maxElements bounds memory. A filter of MaxSize that says something in
	// every element stays below.
	maxElements = 250_000
	// maxAttributes is several times what the largest element has.
	maxAttributes = 256
)

// Place is a line and a column, both from 1; the column counts bytes.
type Place struct{ Line, Column int }

// Element is an XML element. Names are local names: prefixes do not count.
type Element struct {
	Name       string
	Place      Place // of the "<"
	Attributes []Attribute
	Children   []*Element
	// Text is the element's own text, without that of its children.
	Text []byte
	// TextPlace is where the first text begins that is not white space; zero
	// if there is none.
	TextPlace Place
}

// Attribute is one attribute of an element, with entities expanded and white
// space normalised as XML has it.
type Attribute struct {
	Name  string
	Value string
	Place Place // of the name
}

// Attribute returns the named attribute, or nil.
func (e *Element) Attribute(name string) *Attribute {
	for i := range e.Attributes {
		if e.Attributes[i].Name == name {
			return &e.Attributes[i]
		}
	}
	return nil
}

// Value is the named attribute's value, "" if it is absent.
func (e *Element) Value(name string) string {
	if a := e.Attribute(name); a != nil {
		return a.Value
	}
	return ""
}

// Child returns the first child with this name, or nil.
func (e *Element) Child(name string) *Element {
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Fault tells why a text is no well-formed document.
type Fault struct {
	Place         Place
	Message, Hint string
}

// Parse reads one document. It never panics, and its memory is bounded by
// MaxSize whatever the text is.
func Parse(src []byte) (*Element, *Fault) {
	if len(src) > MaxSize {
		return nil, &Fault{Message: fmt.Sprintf("the document is longer than %d bytes, of which no more are read", MaxSize)}
	}
	p := &parser{lines: lines{src: src, line: 1}, entities: entities{budget: MaxSize}}
	if !utf8.Valid(src) {
		return nil, p.fault(invalidUTF8(src), "the text is not UTF-8", "")
	}
	p.base = len(src)
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	p.base -= len(src)
	p.src = src
	p.decoder = xml.NewDecoder(bytes.NewReader(src))
	p.decoder.Entity = map[string]string{}
	p.decoder.CharsetReader = asciiOnly(src)
	for {
		done, fault := p.step()
		if fault != nil {
			return nil, fault
		}
		if done {
			return p.root, nil
		}
	}
}

func invalidUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(src)
}

// encodingError is the name of an encoding that is not read.
type encodingError string

func (e encodingError) Error() string { return fmt.Sprintf("the encoding %s is not read", string(e)) }

// asciiOnly takes a document that declares another encoding than UTF-8 where
// the encoding cannot matter.
func asciiOnly(src []byte) func(string, io.Reader) (io.Reader, error) {
	return func(label string, r io.Reader) (io.Reader, error) {
		label = strings.ToLower(label)
		for _, b := range src {
			if b >= utf8.RuneSelf {
				return nil, encodingError(label)
			}
		}
		if label == "us-ascii" || label == "ascii" || strings.HasPrefix(label, "iso-8859-") || strings.HasPrefix(label, "windows-125") {
			return r, nil
		}
		return nil, encodingError(label)
	}
}

// lines turns ascending offsets into places.
type lines struct {
	src         []byte
	offset      int
	line, start int
}

func (l *lines) place(offset int) Place {
	offset = min(offset, len(l.src))
	if offset < l.offset {
		l.offset, l.line, l.start = 0, 1, 0
	}
	for {
		i := bytes.IndexByte(l.src[l.offset:offset], '\n')
		if i < 0 {
			l.offset = offset
			return Place{Line: l.line, Column: offset - l.start + 1}
		}
		l.offset += i + 1
		l.line, l.start = l.line+1, l.offset
	}
}

type parser struct {
	src      []byte
	base     int // bytes of a byte order mark before src
	lines    lines
	decoder  *xml.Decoder
	entities entities
	root     *Element
	stack    []*Element
	doctype  bool
	elements int
}

func (p *parser) place(offset int) Place { return p.lines.place(offset + p.base) }

func (p *parser) fault(offset int, message, hint string) *Fault {
	return &Fault{Place: p.place(offset), Message: message, Hint: hint}
}

func (p *parser) step() (done bool, fault *Fault) {
	start := int(p.decoder.InputOffset())
	token, err := p.decoder.Token()
	if errors.Is(err, io.EOF) && p.root != nil {
		return true, nil
	}
	if err != nil {
		return false, p.syntax(start, err)
	}
	raw := string(p.src[start:p.decoder.InputOffset()])
	switch t := token.(type) {
	case xml.StartElement:
		return false, p.startElement(start, raw, t)
	case xml.EndElement:
		p.stack = p.stack[:len(p.stack)-1]
	case xml.CharData:
		return false, p.text(start, raw)
	case xml.Directive:
		return false, p.directive(start, string(t))
	case xml.ProcInst:
		if t.Target == "xml" && start != 0 {
			return false, p.fault(start, "the XML declaration <?xml …?> may only be the very first thing in a document", "remove what stands before it")
		}
	}
	return false, nil
}

func (p *parser) startElement(start int, raw string, t xml.StartElement) *Fault {
	if p.root != nil && len(p.stack) == 0 {
		return p.fault(start, fmt.Sprintf("<%s> after the end of <%s>: a document has one outermost element", t.Name.Local, p.root.Name), "")
	}
	if len(p.stack) == maxDepth {
		return p.fault(start, fmt.Sprintf("elements are nested deeper than %d", maxDepth), "")
	}
	if p.elements++; p.elements > maxElements {
		return p.fault(start, fmt.Sprintf("the document has more than %d elements", maxElements), "")
	}
	e := &Element{Name: t.Name.Local, Place: p.place(start)}
	if fault := p.attributes(e, start, raw, t.Attr); fault != nil {
		return fault
	}
	if p.root == nil {
		p.root = e
	} else {
		parent := p.stack[len(p.stack)-1]
		parent.Children = append(parent.Children, e)
	}
	p.stack = append(p.stack, e)
	return nil
}

// attributes fills in the attributes of a start tag. The decoder has checked
// the tag and split the names; places and values are read from the raw text.
func (p *parser) attributes(e *Element, start int, raw string, named []xml.Attr) *Fault {
	if len(named) > maxAttributes {
		return p.fault(start, fmt.Sprintf("<%s> has %d attributes; at most %d are read", e.Name, len(named), maxAttributes), "")
	}
	for _, a := range scanAttributes(raw) {
		name := named[0].Name
		named = named[1:]
		if !a.spaced {
			return p.fault(start+a.offset, fmt.Sprintf("attribute %q must be set off by a blank", name.Local), "")
		}
		if name.Space == "xmlns" || name.Space == "" && name.Local == "xmlns" {
			continue
		}
		if e.Attribute(name.Local) != nil {
			return p.fault(start+a.offset, fmt.Sprintf("<%s> has the attribute %q twice", e.Name, name.Local), "")
		}
		value, err := p.entities.decode(a.value, true, 0)
		if err != nil {
			return p.fault(start+a.offset, fmt.Sprintf("attribute %q of <%s>: %v", name.Local, e.Name, err), "")
		}
		e.Attributes = append(e.Attributes, Attribute{Name: name.Local, Value: value, Place: p.place(start + a.offset)})
	}
	return nil
}

func (p *parser) text(start int, raw string) *Fault {
	if len(p.stack) == 0 {
		if leadingSpace(raw) == len(raw) {
			return nil
		}
		return p.fault(start+leadingSpace(raw), "text outside of the outermost element", "")
	}
	decoded := raw
	if cdata, ok := strings.CutPrefix(raw, "<![CDATA["); ok {
		decoded = strings.TrimSuffix(cdata, "]]>")
	} else {
		var err error
		if decoded, err = p.entities.decode(raw, false, 0); err != nil {
			return p.fault(start, err.Error(), "")
		}
	}
	e := p.stack[len(p.stack)-1]
	e.Text = append(e.Text, decoded...)
	if e.TextPlace == (Place{}) && leadingSpace(decoded) < len(decoded) {
		e.TextPlace = p.place(start + leadingSpace(raw))
	}
	return nil
}

func leadingSpace(s string) int { return len(s) - len(strings.TrimLeft(s, " \t\r\n")) }

func (p *parser) directive(start int, text string) *Fault {
	if !strings.HasPrefix(text, "DOCTYPE") || p.doctype || p.root != nil {
		return p.fault(start, "<!…> is neither a comment nor a document type before the first element", "")
	}
	p.doctype = true
	if err := p.entities.declare(text); err != nil {
		return p.fault(start, "document type: "+err.Error(), "")
	}
	for name := range p.entities.values {
		// The decoder only has to know the names: values are expanded here,
		// within a budget.
		p.decoder.Entity[name] = ""
	}
	return nil
}
