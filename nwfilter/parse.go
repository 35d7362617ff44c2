package nwfilter

import (
	"fmt"

	"tapgate/nwfilter/internal/document"
)

// MaxDocument is the length of the longest document that is read, in bytes:
// what libvirt's RPC takes.
const MaxDocument = document.MaxSize

// Options chooses how a document is read.
type Options struct {
	// Lenient takes a document as libvirt takes it: what libvirt silently
	// ignores is ignored with a warning. Otherwise that is an error.
	Lenient bool
}

// Parse reads one <filter> document of at most 4 MiB. file names it in
// positions. It goes on after a fault to report them together; the filter is
// nil if any of the diagnostics is an error. It never panics.
//
// A filter that was parsed leniently may hold attributes that are no
// condition: see NeedsBase, OverriddenBy and NoVariable of AttributeSpec.
func Parse(src []byte, file string, options Options) (*Filter, Diagnostics) {
	r := &reader{Reader: document.Reader{Lenient: options.Lenient}, file: file}
	root, fault := document.Parse(src)
	var f *Filter
	switch {
	case fault != nil:
		r.RefuseDocument(fault)
	case root.Name != "filter":
		r.Refuse(root, nil, fmt.Sprintf("a filter document begins with <filter>, not <%s>", root.Name), "")
	default:
		f = r.filter(root)
	}
	diagnostics := ReaderDiagnostics(file, &r.Reader)
	if r.Failed() {
		return nil, diagnostics
	}
	return f, diagnostics
}

type reader struct {
	document.Reader
	file string
}

func (r *reader) position(p document.Place) Position {
	return Position{File: r.file, Line: p.Line, Column: p.Column}
}

func (r *reader) filter(e *document.Element) *Filter {
	r.OnlyAttributes(e, "name", "chain", "priority")
	r.NoText(e)
	f := &Filter{Name: e.Value("name"), Chain: RootChain, Pos: r.position(e.Place)}
	if name := e.Attribute("name"); f.Name == "" {
		r.Refuse(e, name, `<filter> needs the attribute "name"`, "")
	} else {
		r.FilterName(e, name)
	}
	r.chain(e, f)
	identified := false
	for _, c := range e.Children {
		switch c.Name {
		case "rule":
			if rule := r.rule(c); rule != nil {
				f.Entries = append(f.Entries, Entry{Rule: rule})
			}
		case "filterref":
			f.Entries = append(f.Entries, Entry{Reference: r.reference(c)})
		case "uuid":
			if identified {
				r.Ignore(c, nil, "a filter has one <uuid>; only the first counts", "")
				continue
			}
			identified = true
			f.UUID = r.uuid(c)
		default:
			hint := r.DidYouMean(c.Name, []string{"uuid", "rule", "filterref"})
			if LookupProtocol(c.Name) != nil {
				hint = fmt.Sprintf("put <%s> into a <rule>", c.Name)
			}
			r.UnknownChild(e, c, hint)
		}
	}
	return f
}

// chain reads the chain and its priority.
func (r *reader) chain(e *document.Element, f *Filter) {
	given := false
	if chain := e.Attribute("chain"); chain != nil {
		switch fault := checkChain(chain.Value); {
		case chain.Value == "":
			r.Ignore(e, chain, "the chain's name is empty", "leave the attribute out, or write root")
		case fault != "":
			names := []string{RootChain}
			for _, p := range chainPrefixes {
				names = append(names, p.name)
			}
			r.Refuse(e, chain, fault, r.DidYouMean(chain.Value, names))
		default:
			given = true
			f.Chain = chain.Value
			f.ChainPriority = DefaultChainPriority(chain.Value)
		}
	}
	priority := e.Attribute("priority")
	if priority == nil {
		return
	}
	n, ok := parsePriority(priority.Value)
	switch {
	case priority.Value == "":
		r.Ignore(e, priority, "the chain's priority is empty", "leave the attribute out")
	case !ok:
		r.Refuse(e, priority, fmt.Sprintf("the chain's priority cannot be %s: expected a number from %d to %d",
			document.Quote(priority.Value), MinPriority, MaxPriority), "")
	case !given:
		r.Ignore(e, priority, "priority of <filter> has no effect without the attribute \"chain\"", "a rule's priority stands in <rule>")
	default:
		f.ChainPriority = n
	}
}

// parsePriority reads a decimal number within the bounds of priorities.
func parsePriority(text string) (int, bool) {
	n, negative, ok := parseUnsigned(text, 10)
	if !ok || n > MaxPriority {
		return 0, false
	}
	if negative {
		return -int(n), true
	}
	return int(n), true
}

func (r *reader) uuid(e *document.Element) string {
	r.OnlyAttributes(e)
	r.NoChildren(e)
	if e.TextPlace == (document.Place{}) {
		return ""
	}
	uuid, ok := document.UUID(string(e.Text))
	if !ok {
		r.Refuse(e, nil, fmt.Sprintf("<uuid> cannot be %s: expected 32 hexadecimal digits", document.Quote(string(e.Text))), "")
	}
	return uuid
}

func (r *reader) reference(e *document.Element) *Reference {
	filter, parameters := r.Reference(e)
	ref := &Reference{Pos: r.position(e.Place)}
	if filter != nil {
		ref.Filter = filter.Value
	}
	for _, p := range parameters {
		ref.Parameters = append(ref.Parameters, Parameter{Name: p.Name, Value: p.Value, Pos: r.position(p.Place)})
	}
	return ref
}
