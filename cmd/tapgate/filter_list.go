package main

import (
	"github.com/spf13/cobra"

	"tapgate/internal/store"
)

type filterListed struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid,omitempty"`
	Chain   string `json:"chain"`
	BuiltIn bool   `json:"built_in"`
	// Overrides is set for a stored filter in the place of a built-in one.
	Overrides bool   `json:"overrides,omitempty"`
	File      string `json:"file,omitempty"`
}

func newFilterListCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List all filters",
		Long:    "Lists the stored and the built-in filters, and the files that stored ones were read from.",
		Example: "  tapgate filter list\n  tapgate filter list --json | jq -r '.[] | select(.built_in | not) | .name'",
		Args:    arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			var list []*store.Filter
			var faults []error
			err := t.store().View(c.Context(), func(v *store.View) (err error) {
				list, faults, err = v.Filters()
				return err
			})
			if err != nil {
				return err
			}
			if err := t.printFilters(list, asJSON); err != nil {
				return err
			}
			return t.report(faults)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (t *tool) printFilters(list []*store.Filter, asJSON bool) error {
	listed := []filterListed{}
	rows := &table{}
	rows.add("NAME", "CHAIN", "UUID", "FROM")
	for _, f := range list {
		one := filterListed{Name: f.Name, UUID: f.UUID, Chain: f.Chain, BuiltIn: f.BuiltIn, Overrides: f.Overrides}
		from := "built in"
		if !f.BuiltIn {
			one.File, from = f.File, f.File
		}
		if f.Overrides {
			from += " (in the place of a built-in one)"
		}
		listed = append(listed, one)
		rows.add(f.Name, f.Chain, orDash(f.UUID), from)
	}
	if asJSON {
		return t.printJSON(listed)
	}
	rows.flush(t.stdout, "")
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// report prints faults beside which the command did its work.
func (t *tool) report(faults []error) error {
	for _, fault := range faults {
		t.complain(fault)
	}
	if len(faults) > 0 {
		return errFaults
	}
	return nil
}
