package document

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// rawAttribute is an attribute of a start tag as it is written.
type rawAttribute struct {
	offset int // of the name, in the tag
	value  string
	spaced bool // white space stands before the name
}

// scanAttributes finds the attributes of a start tag that encoding/xml took.
func scanAttributes(tag string) []rawAttribute {
	const space = " \t\r\n"
	var found []rawAttribute
	at := strings.IndexAny(tag, space+"/>")
	for at >= 0 && at < len(tag) {
		rest := strings.TrimLeft(tag[at:], space)
		begin := len(tag) - len(rest)
		if rest == "" || rest[0] == '>' || rest[0] == '/' {
			break
		}
		equals := strings.IndexByte(rest, '=')
		quoted := strings.TrimLeft(rest[equals+1:], space)
		end := strings.IndexByte(quoted[1:], quoted[0])
		found = append(found, rawAttribute{offset: begin, value: quoted[1 : 1+end], spaced: begin > at})
		at = len(tag) - len(quoted) + end + 2
	}
	return found
}

// syntax puts the decoder's error in words. start is where the token began.
func (p *parser) syntax(start int, err error) *Fault {
	var syntax *xml.SyntaxError
	var encoding encodingError
	switch {
	case errors.Is(err, io.EOF):
		return p.fault(len(p.src), "the document is empty", "")
	case errors.As(err, &encoding):
		return p.fault(start, encoding.Error(), "save the document as UTF-8")
	case !errors.As(err, &syntax):
		return p.fault(start, strings.TrimPrefix(err.Error(), "xml: "), "")
	}
	here := int(p.decoder.InputOffset())
	rest := string(p.src[start:])
	switch message := syntax.Msg; {
	case message == "unexpected EOF" && strings.HasPrefix(rest, "<!--"):
		return p.fault(start, "the comment that begins here is never closed", "a comment ends with -->")
	case message == "unexpected EOF" && strings.HasPrefix(rest, "<"):
		return p.fault(start, "the document ends in the middle of the tag that begins here", "")
	case message == "unexpected EOF" && len(p.stack) > 0:
		open := p.stack[len(p.stack)-1]
		return p.fault(len(p.src), fmt.Sprintf("the document ends, but <%s> of line %d is not closed", open.Name, open.Place.Line), "")
	case strings.Contains(message, "<!- not part of <!--"):
		return p.fault(start, "not well-formed XML: <!- begins nothing", `a comment is written <!-- … -->, without a blank between the dashes; printed manuals often show "<!- -"`)
	case strings.Contains(message, `"--"`):
		return p.fault(here, `not well-formed XML: "--" within a comment`, "a comment is written <!-- … -->")
	case strings.Contains(message, "closed by") && len(p.stack) > 0:
		open := p.stack[len(p.stack)-1]
		return p.fault(start, fmt.Sprintf("not well-formed XML: <%s> of line %d is still open here", open.Name, open.Place.Line), "")
	case strings.Contains(message, "character entity"):
		return p.fault(here, "not well-formed XML: "+message, `write "&amp;" for an ampersand`)
	default:
		return p.fault(here, "not well-formed XML: "+message, "")
	}
}
