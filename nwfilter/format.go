package nwfilter

import (
	"slices"
	"strconv"
	"strings"
)

// Format prints a filter as libvirt prints it: two blanks of indentation,
// single quotes, attributes in the order of the table. Parsing the text gives
// an equal filter. It differs from libvirt's text where that would lose
// something: names are escaped, the sign of ports stays, and a chain priority
// of 0 is printed where the chain's default is another.
func Format(f *Filter) string {
	w := &writer{}
	w.text("<filter name='").escape(f.Name).text("' chain='").escape(f.Chain).text("'")
	if f.ChainPriority != 0 || DefaultChainPriority(f.Chain) != 0 {
		w.text(" priority='").number(f.ChainPriority).text("'")
	}
	w.text(">\n")
	if f.UUID != "" {
		w.text("  <uuid>").escape(f.UUID).text("</uuid>\n")
	}
	for _, entry := range f.Entries {
		if entry.Rule != nil {
			w.rule(entry.Rule)
		} else {
			w.reference(entry.Reference)
		}
	}
	return w.text("</filter>\n").String()
}

// Equal tells whether two filters say the same: they are printed alike.
func Equal(a, b *Filter) bool { return Format(a) == Format(b) }

type writer struct{ strings.Builder }

func (w *writer) text(s string) *writer { w.WriteString(s); return w }

func (w *writer) number(n int) *writer { return w.text(strconv.Itoa(n)) }

// escapes holds white space too: a parser turns it into blanks otherwise.
var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", `"`, "&quot;",
	"\t", "&#9;", "\n", "&#10;", "\r", "&#13;")

func (w *writer) escape(s string) *writer { return w.text(escapes.Replace(s)) }

func (w *writer) rule(r *Rule) {
	w.text("  <rule action='").text(r.Action.String()).text("' direction='").text(r.Direction.String())
	w.text("' priority='").number(r.Priority).text("'")
	if !r.StateMatch {
		w.text(" statematch='false'")
	}
	if r.Protocol == nil {
		w.text("/>\n")
		return
	}
	w.text(">\n")
	// A run of attributes with the same sign shares an element.
	rest := r.Attributes
	for first := true; first || len(rest) > 0; first = false {
		run := len(rest)
		for i := range rest {
			if rest[i].Negated != rest[0].Negated {
				run = i
				break
			}
		}
		w.element(r.Protocol, rest[:run])
		rest = rest[run:]
	}
	w.text("  </rule>\n")
}

func (w *writer) element(p *Protocol, attributes []Attribute) {
	w.text("    <").text(p.Name)
	if len(attributes) > 0 && attributes[0].Negated {
		w.text(" match='no'")
	}
	for _, a := range attributes {
		w.text(" ").text(a.Spec.Name).text("='")
		if a.Value.Variable != nil {
			w.text("$").text(a.Value.Variable.String())
		} else {
			w.escape(a.Value.Text)
		}
		w.text("'")
	}
	w.text("/>\n")
}

func (w *writer) reference(r *Reference) {
	w.text("  ").text(FormatReference(r.Filter, r.Parameters, "  "))
}

// FormatReference prints a <filterref>, its parameters sorted by name, for a
// document in which it stands indented.
func FormatReference(filter string, parameters []Parameter, indent string) string {
	w := &writer{}
	w.text("<filterref filter='").escape(filter).text("'")
	if len(parameters) == 0 {
		return w.text("/>\n").String()
	}
	w.text(">\n")
	for _, p := range SortedParameters(parameters) {
		w.text(indent).text("  <parameter name='").escape(p.Name).text("' value='").escape(p.Value).text("'/>\n")
	}
	return w.text(indent).text("</filterref>\n").String()
}

// SortedParameters returns the parameters by name in byte order; the values of
// one name keep their order.
func SortedParameters(parameters []Parameter) []Parameter {
	return slices.SortedStableFunc(slices.Values(parameters), func(a, b Parameter) int {
		return strings.Compare(a.Name, b.Name)
	})
}
