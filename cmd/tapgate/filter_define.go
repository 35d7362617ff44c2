package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/store"
)

func newFilterDefineCommand(t *tool) *cobra.Command {
	var lenient bool
	c := &cobra.Command{
		Use:   "define FILE…",
		Short: "Store filters, or replace stored ones",
		Long: `Checks filters and stores them under their names. A filter that is stored already
is replaced; it keeps its UUID if the document has none. Filters may reference what
is not defined yet, but no references may lead back to where they began. "-" stands
for the standard input. The earlier text is kept: "tapgate filter rollback" brings it
back.

Ports that are bound go on enforcing the earlier text, until "tapgate bind PORT"
binds them again.`,
		Example: `  tapgate filter define my-filter.xml
  tapgate filter define --lenient /etc/libvirt/nwfilter/*.xml`,
		Args:              arguments(1, -1, "a file"),
		ValidArgsFunction: completeXML,
		RunE: func(c *cobra.Command, args []string) error {
			var filters []*store.Filter
			failed := false
			for _, path := range args {
				f, err := t.readFilter(path, lenient)
				if err != nil {
					t.complain(err)
					failed = true
					continue
				}
				filters = append(filters, f)
			}
			if len(filters) > 0 {
				err := t.update(c.Context(), func(u *store.Update) error {
					for _, f := range filters {
						d, err := define(u, f)
						if err != nil {
							t.complain(err)
							failed = true
							continue
						}
						fmt.Fprintf(t.stdout, "filter %s %s\n", d.Filter, d.What)
						d.remind(t, "")
					}
					return nil
				})
				if err != nil {
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
	return c
}

var changeWords = map[store.Change]string{store.Added: "defined", store.Replaced: "replaced", store.Unchanged: "unchanged"}

// defined is what the definition of a filter changed.
type defined struct {
	Filter string `json:"filter"`
	What   string `json:"what"`
	// Outdated are the ports that enforce what the filter said before.
	Outdated []string `json:"outdated,omitempty"`
}

func define(u *store.Update, f *store.Filter) (*defined, error) {
	change, err := u.Define(f, nil)
	if err != nil {
		return nil, err
	}
	return describeChange(u.View, f.Name, change)
}

func describeChange(v *store.View, filter string, change store.Change) (*defined, error) {
	d := &defined{Filter: filter, What: changeWords[change]}
	if change == store.Unchanged {
		return d, nil
	}
	var err error
	d.Outdated, err = v.Reach(filter)
	slices.Sort(d.Outdated)
	return d, err
}

// remind names the ports that should be bound again.
func (d *defined) remind(t *tool, except string) {
	ports := slices.DeleteFunc(slices.Clone(d.Outdated), func(port string) bool { return port == except })
	if len(ports) > 0 {
		fmt.Fprintf(t.stderr, "note: what %s enforces is the earlier text of filter %s; \"tapgate bind PORT\" binds a port again\n", strings.Join(ports, ", "), d.Filter)
	}
}
