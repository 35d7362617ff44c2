package binding

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"tapgate/nwfilter"
	"tapgate/nwfilter/internal/document"
)

// Parse reads the bindings of a <filterbinding>, an <interface> or a <domain>.
// A domain has one for each interface with a <filterref>, and may have none.
// What surrounds them in a domain or an interface is not looked at. file names
// the document in positions. The bindings are nil if any of the diagnostics is
// an error; with Lenient, what libvirt silently ignores is only a warning.
func Parse(src []byte, file string, options nwfilter.Options) ([]Binding, nwfilter.Diagnostics) {
	r := &reader{Reader: document.Reader{Lenient: options.Lenient}, file: file}
	root, fault := document.Parse(src)
	var bindings []Binding
	if fault != nil {
		r.RefuseDocument(fault)
	} else {
		bindings = r.root(root)
	}
	diagnostics := nwfilter.ReaderDiagnostics(file, &r.Reader)
	if r.Failed() {
		return nil, diagnostics
	}
	return bindings, diagnostics
}

type reader struct {
	document.Reader
	file string
}

func (r *reader) position(p document.Place) nwfilter.Position {
	return nwfilter.Position{File: r.file, Line: p.Line, Column: p.Column}
}

func (r *reader) root(e *document.Element) []Binding {
	switch e.Name {
	case "filterbinding":
		return []Binding{r.filterBinding(e)}
	case "interface":
		if e.Child("filterref") == nil {
			r.Refuse(e, nil, "<interface> has no <filterref>", "")
			return nil
		}
		return []Binding{r.networkInterface(e)}
	case "domain":
		return r.domain(e)
	}
	r.Refuse(e, nil, fmt.Sprintf("a binding is a <filterbinding>, an <interface> or a <domain>, not a <%s>", e.Name), "")
	return nil
}

// filterBinding reads the form in which libvirt keeps bindings.
func (r *reader) filterBinding(e *document.Element) Binding {
	b := Binding{Pos: r.position(e.Place)}
	r.OnlyAttributes(e)
	r.NoText(e)
	r.once(e, "owner", "portdev", "linkdev", "mac", "filterref")
	if port := r.required(e, "portdev", ""); port != nil {
		r.Only(port, "name")
		b.Port = r.device(port, "name")
	}
	if link := e.Child("linkdev"); link != nil {
		r.Only(link, "name")
		b.LinkDevice = r.device(link, "name")
	}
	if owner := r.required(e, "owner", ""); owner != nil {
		r.OnlyAttributes(owner)
		r.NoText(owner)
		r.once(owner, "name", "uuid")
		r.owner(owner, &b)
	}
	if mac := e.Child("mac"); mac != nil {
		r.Only(mac, "address")
	}
	r.mac(e, &b)
	r.filterRef(e, &b)
	return b
}

// once notes children that are not known, or stand there again.
func (r *reader) once(e *document.Element, known ...string) {
	seen := map[string]bool{}
	for _, c := range e.Children {
		switch {
		case !slices.Contains(known, c.Name):
			r.UnknownChild(e, c, r.DidYouMean(c.Name, known))
		case seen[c.Name]:
			r.Ignore(c, nil, fmt.Sprintf("<%s> stands twice in <%s>; only the first counts", c.Name, e.Name), "")
		}
		seen[c.Name] = true
	}
}

// owner reads the <name> and <uuid> of the guest.
func (r *reader) owner(e *document.Element, b *Binding) {
	if name := r.required(e, "name", ""); name != nil {
		b.OwnerName = string(name.Text)
		if b.OwnerName == "" {
			r.Refuse(name, nil, "the owner's <name> is empty", "")
		}
	}
	if uuid := r.required(e, "uuid", ""); uuid != nil {
		var ok bool
		if b.OwnerUUID, ok = document.UUID(string(uuid.Text)); !ok {
			r.Refuse(uuid, nil, fmt.Sprintf("<uuid> cannot be %s: expected 32 hexadecimal digits", document.Quote(string(uuid.Text))), "")
		}
	}
}

// required is the first child with this name; its absence is refused.
func (r *reader) required(e *document.Element, name, hint string) *document.Element {
	c := e.Child(name)
	if c == nil {
		r.Refuse(e, nil, fmt.Sprintf("<%s> has no <%s>", e.Name, name), hint)
	}
	return c
}

// named is a required attribute that is not empty.
func (r *reader) named(e *document.Element, name string) *document.Attribute {
	a := e.Attribute(name)
	if a == nil || a.Value == "" {
		r.Refuse(e, a, fmt.Sprintf("<%s> needs the attribute %q", e.Name, name), "")
		return nil
	}
	return a
}

// maxDevice is IFNAMSIZ without the final zero.
const maxDevice = 15

// device is the name of a network device in an attribute.
func (r *reader) device(e *document.Element, attribute string) string {
	a := r.named(e, attribute)
	if a == nil {
		return ""
	}
	switch name := a.Value; {
	case len(name) > maxDevice:
		r.Ignore(e, a, fmt.Sprintf("the device name %s is longer than the %d bytes that Linux allows", document.Quote(name), maxDevice), "")
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r"):
		r.Ignore(e, a, fmt.Sprintf("%s cannot be the name of a network device", document.Quote(name)), "")
	}
	return a.Value
}

// macSpec is how filters read a MAC address.
var macSpec = nwfilter.AttributeSpec{Name: "address", Type: nwfilter.MAC}

func (r *reader) mac(parent *document.Element, b *Binding) {
	e := r.required(parent, "mac", "")
	if e == nil {
		return
	}
	a := r.named(e, "address")
	if a == nil {
		return
	}
	v, err := macSpec.ParseValue(a.Value)
	if err != nil || v.Variable != nil {
		r.Refuse(e, a, fmt.Sprintf("address of <mac> cannot be %s: expected %s", document.Quote(a.Value), macSpec.Expected()), "")
		return
	}
	if len(a.Value) > len(v.Text) {
		r.Ignore(e, a, fmt.Sprintf("what follows the address in %s is ignored", document.Quote(a.Value)), "")
	}
	if v.Number>>40&1 != 0 {
		r.Ignore(e, a, fmt.Sprintf("%s is a multicast address, which no guest can have", v.Text), "")
	}
	b.MAC = binary.BigEndian.AppendUint64(nil, v.Number)[2:]
}

func (r *reader) filterRef(parent *document.Element, b *Binding) {
	e := r.required(parent, "filterref", "")
	if e == nil {
		return
	}
	filter, parameters := r.Reference(e)
	if filter != nil {
		b.Filter = filter.Value
	}
	for _, p := range parameters {
		b.Parameters = append(b.Parameters, nwfilter.Parameter{Name: p.Name, Value: p.Value, Pos: r.position(p.Place)})
	}
}
