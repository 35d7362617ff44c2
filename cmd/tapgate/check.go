package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// checked is what is found out about one file.
type checked struct {
	File string `json:"file"`
	// Kind is "filter" or "binding", empty if it is neither.
	Kind string `json:"kind,omitempty"`
	// Names are the filter's name or the bound ports.
	Names  []string `json:"names,omitempty"`
	OK     bool     `json:"ok"`
	Faults []fault  `json:"faults"`

	diagnostics nwfilter.Diagnostics
}

type fault struct {
	nwfilter.Position
	Severity  string `json:"severity"`
	Element   string `json:"element,omitempty"`
	Attribute string `json:"attribute,omitempty"`
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`
}

func newCheckCommand(t *tool) *cobra.Command {
	var lenient, quiet, asJSON bool
	c := &cobra.Command{
		Use:   "check FILE…",
		Short: "Check filters and bindings for faults",
		Long: `Reads documents and prints one line for each fault: file, line, column, what is
wrong, what was expected, and what may have been meant. A document is a <filter>,
or a binding in one of libvirt's forms: a <filterbinding>, an <interface> with a
<filterref>, or a whole <domain>. "-" stands for the standard input.

libvirt silently ignores much that it does not understand. Here that is a fault,
for a rule that is not enforced is a hole; with --lenient it is only a warning,
and a document is accepted if libvirt accepts it.

The exit code is 0 if all documents are accepted, else 1.`,
		Example: `  tapgate check my-filter.xml
  tapgate check --lenient /etc/libvirt/nwfilter/*.xml
  virsh dumpxml guest | tapgate check -`,
		Args:              arguments(1, -1, "a file"),
		ValidArgsFunction: completeXML,
		RunE: func(_ *cobra.Command, args []string) error {
			results, failed := []checked{}, false
			for _, path := range args {
				r, err := t.check(path, lenient)
				if err != nil {
					t.complain(err)
					failed = true
					continue
				}
				failed = failed || !r.OK
				results = append(results, r)
				if !asJSON {
					t.printChecked(r, quiet)
				}
			}
			if asJSON {
				if err := t.printJSON(results); err != nil {
					return err
				}
			}
			if failed {
				return errFaults
			}
			return nil
		},
	}
	c.Flags().BoolVar(&lenient, "lenient", false, "accept what libvirt accepts, with warnings")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "do not say that a file is ok")
	jsonFlag(c, &asJSON)
	return c
}

func (t *tool) check(path string, lenient bool) (checked, error) {
	text, err := t.read(path)
	if err != nil {
		return checked{}, err
	}
	name, options := fileName(path), nwfilter.Options{Lenient: lenient}
	r := checked{File: name, Faults: []fault{}}
	switch rootElement(text) {
	case "filterbinding", "interface", "domain":
		var bindings []binding.Binding
		bindings, r.diagnostics = binding.Parse(text, name, options)
		r.Kind = "binding"
		for _, b := range bindings {
			r.Names = append(r.Names, b.Port)
		}
	default:
		var f *nwfilter.Filter
		if f, r.diagnostics = nwfilter.Parse(text, name, options); f != nil {
			r.Kind, r.Names = "filter", []string{f.Name}
		}
	}
	r.OK = r.diagnostics.Err() == nil
	for _, d := range r.diagnostics {
		r.Faults = append(r.Faults, fault{d.Pos, d.Severity.String(), d.Element, d.Attribute, d.Message, d.Hint})
	}
	return r, nil
}

// rootElement is the name of the document's element, "" if there is none.
func rootElement(text []byte) string {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		token, err := d.RawToken()
		if err != nil {
			return ""
		}
		if element, ok := token.(xml.StartElement); ok {
			return element.Name.Local
		}
	}
}

func (t *tool) printChecked(r checked, quiet bool) {
	for _, d := range r.diagnostics {
		fmt.Fprintln(t.stdout, d)
	}
	if r.OK && !quiet {
		fmt.Fprintf(t.stdout, "%s: ok\n", r.File)
	}
}
