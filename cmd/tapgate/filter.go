package main

import "github.com/spf13/cobra"

func newFilterCommand(t *tool) *cobra.Command {
	c := &cobra.Command{
		Use:   "filter",
		Short: "Manage the stored filters",
		Long: `Filters are known by name: a binding and the references of other filters use it.
They are kept as files in the state directory. The built-in filters, such as
clean-traffic, are always there; a stored filter of the same name takes the place
of a built-in one.`,
		Example: `  tapgate filter define my-filter.xml
  tapgate filter list
  tapgate filter dump clean-traffic
  tapgate filter rollback my-filter`,
		Args: onlyCommands,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newFilterDefineCommand(t), newFilterListCommand(t), newFilterDumpCommand(t), newFilterUndefineCommand(t), newFilterRollbackCommand(t))
	return c
}
