package document

import (
	"fmt"
	"strings"
)

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
	// VariableCharacters are what the name of a variable is made of.
	VariableCharacters = letters + digits + "_"
	valueCharacters    = letters + digits + "_.:"
)

// Parameter is a <parameter> of a <filterref>.
type Parameter struct {
	Name, Value string
	Place       Place
}

// Reference reads a <filterref>: the filter that it names and the parameters.
// The attribute is nil if it is missing, which is refused here.
func (r *Reader) Reference(e *Element) (filter *Attribute, parameters []Parameter) {
	r.OnlyAttributes(e, "filter")
	r.NoText(e)
	if filter = e.Attribute("filter"); filter == nil {
		r.Refuse(e, nil, "<filterref> needs the attribute \"filter\", the name of the filter", "")
	} else {
		r.FilterName(e, filter)
	}
	for _, c := range e.Children {
		if c.Name != "parameter" {
			r.UnknownChild(e, c, r.DidYouMean(c.Name, []string{"parameter"}))
			continue
		}
		r.Only(c, "name", "value")
		if name, value := r.parameterPart(c, "name", isParameterName), r.parameterPart(c, "value", isParameterValue); name != nil && value != nil {
			parameters = append(parameters, Parameter{Name: name.Value, Value: value.Value, Place: c.Place})
		}
	}
	return filter, parameters
}

// parameterPart is the named attribute of a <parameter> if it can be used.
// libvirt drops the whole parameter if it cannot.
func (r *Reader) parameterPart(e *Element, name string, check func(string) string) *Attribute {
	a := e.Attribute(name)
	if a == nil {
		r.Ignore(e, nil, fmt.Sprintf("<parameter> needs the attribute %q", name), "")
		return nil
	}
	if expected := check(a.Value); expected != "" {
		r.Ignore(e, a, fmt.Sprintf("%s of <parameter> cannot be %s: expected %s", name, Quote(a.Value), expected), "")
		if name == "name" && a.Value == "" {
			return a // libvirt keeps the nameless variable
		}
		return nil
	}
	return a
}

func isParameterName(s string) string {
	if s == "" || strings.Trim(s, VariableCharacters) != "" {
		return "letters, digits and underscores"
	}
	return ""
}

func isParameterValue(s string) string {
	if s == "" || strings.Trim(s, valueCharacters) != "" {
		return `letters, digits, "_", "." and ":"; a list is written by repeating the parameter`
	}
	return ""
}
