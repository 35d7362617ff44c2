package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tapgate/client"
	"tapgate/nwfilter"
)

// A request may be as long as this: JSON has up to two bytes for each of a document
// of text.
const (
	maxBody     = 64 << 10
	maxDocument = 2*nwfilter.MaxDocument + maxBody
)

func invalidf(format string, args ...any) error {
	return &client.Error{Code: client.ErrInvalid, Message: fmt.Sprintf(format, args...)}
}

// takes refuses a body, and parameters of other names.
func (c *call) takes(names ...string) error {
	if c.r.ContentLength != 0 {
		return invalidf("%s %.200q takes no body", c.r.Method, c.r.URL.Path)
	}
	return c.takesQuery(names...)
}

func (c *call) takesQuery(names ...string) error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return invalidf("the parameters %.200q cannot be read: %s", c.r.URL.RawQuery, unescapeFault(err))
	}
	for name := range query {
		if slices.Contains(names, name) {
			continue
		}
		if len(names) == 0 {
			return invalidf("%s %.200q has no parameter %.100q: it has none", c.r.Method, c.r.URL.Path, name)
		}
		return invalidf("%s %.200q has no parameter %.100q: expected %s", c.r.Method, c.r.URL.Path, name, strings.Join(names, ", "))
	}
	c.r.Form = query
	return nil
}

func unescapeFault(err error) string {
	var escape url.EscapeError
	if errors.As(err, &escape) {
		return fmt.Sprintf("%q is no escape", string(escape))
	}
	return err.Error()
}

// parameter is the only value of a parameter, "" without one.
func (c *call) parameter(name string) (string, error) {
	switch values := c.r.Form[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		if !utf8.ValidString(values[0]) {
			return "", invalidf("%s=%.100q is not UTF-8", name, values[0])
		}
		return values[0], nil
	}
	return "", invalidf("%s is given several times", name)
}

// flag is a parameter that is true or false.
func (c *call) flag(name string, otherwise bool) (bool, error) {
	text, err := c.parameter(name)
	if err != nil || text == "" {
		return otherwise, err
	}
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, invalidf("%s=%.100q: expected true or false", name, text)
}

// number is a parameter between two numbers.
func (c *call) number(name string, least, most int) (int, error) {
	text, err := c.parameter(name)
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, invalidf("%s=%.100q: expected a number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// body reads the request's JSON, which must say no more than the value holds.
func (c *call) body(into any, most int64) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return &client.Error{Code: client.ErrMediaType, Message: fmt.Sprintf("the body is of the type %.100q: expected application/json", c.r.Header.Get("Content-Type"))}
	}
	text, err := c.readBody(most)
	if err != nil {
		return err
	}
	if !utf8.Valid(text) {
		return invalidf("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return invalidf("the body cannot be understood: %s", jsonFault(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return invalidf("the body goes on behind its JSON")
	}
	return nil
}

// readBody waits for the body, as long as the server lets it. The answer may take
// longer.
func (c *call) readBody(most int64) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return nil, &client.Error{Code: client.ErrTooLarge, Message: fmt.Sprintf("the body is longer than the %d bytes that are possible here", most)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, invalidf("the body did not come in time")
	case err != nil:
		return nil, invalidf("the body did not come whole")
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	return text, nil
}

// jsonFault is what a decoder complains of, in a sentence.
func jsonFault(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return "there is none"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "its JSON ends early"
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is no JSON at byte %d: %s", syntax.Offset, syntax)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Sprintf("%q is a %s: expected %s", kind.Field, kind.Value, wanted(kind))
	case errors.As(err, &kind):
		return fmt.Sprintf("it is a %s: expected %s", kind.Value, wanted(kind))
	}
	var moment *time.ParseError
	if errors.As(err, &moment) {
		return fmt.Sprintf("%.100q is no time: expected one such as \"2026-05-04T10:00:00Z\"", moment.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if strings.HasPrefix(text, "Time.UnmarshalJSON: ") {
		return "a time is no string: expected one such as \"2026-05-04T10:00:00Z\""
	}
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		return fmt.Sprintf("there is no field %.100s", name)
	}
	return text
}

// wanted is the kind of JSON in whose place another stands.
func wanted(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); {
	case kind == "string":
		return "a string"
	case kind == "bool":
		return "true or false"
	case kind == "slice":
		return "a list"
	case kind == "struct", kind == "map", kind == "ptr":
		return "an object"
	}
	return "a number"
}

// name is a part of the path.
func (c *call) name(part string) (string, error) {
	name := c.r.PathValue(part)
	if !utf8.ValidString(name) {
		return "", invalidf("%.100q is no name of a %s: it is not UTF-8", name, part)
	}
	return name, nil
}
