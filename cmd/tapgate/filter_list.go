package main

import (
	"errors"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newFilterListCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List all filters",
		Long:    "Lists the stored and the built-in filters, and the files that stored ones were read from.",
		Example: "  tapgate filter list\n  tapgate filter list --json | jq -r '.[] | select(.built_in | not) | .name'",
		Args:    arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			list, err := ask.Filters(c.Context())
			if err != nil {
				return err
			}
			if err := t.printFilters(list.Filters, asJSON); err != nil {
				return err
			}
			return t.reportFaults(list.Faults)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (t *tool) printFilters(list []client.FilterInfo, asJSON bool) error {
	if asJSON {
		return t.printJSON(list)
	}
	rows := &table{}
	rows.add("NAME", "CHAIN", "UUID", "FROM")
	for _, f := range list {
		from := "built in"
		if !f.BuiltIn {
			from = f.File
		}
		if f.Overrides {
			from += " (in the place of a built-in one)"
		}
		rows.add(f.Name, f.Chain, orDash(f.UUID), from)
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

// reportFaults prints faults beside which the command did its work.
func (t *tool) reportFaults(faults []string) error {
	for _, fault := range faults {
		t.complain(errors.New(fault))
	}
	if len(faults) > 0 {
		return errFaults
	}
	return nil
}
