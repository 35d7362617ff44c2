package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newFilterUndefineCommand(t *tool) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "undefine NAME",
		Short: "Remove a stored filter",
		Long: `Removes a stored filter. That is refused while another filter or a binding names
it, unless forced: ports go on enforcing what they enforce, but cannot be bound
again. Where a stored filter took the place of a built-in one, the built-in one is
there again, and in force at once on the ports that use it; a built-in filter itself cannot be removed. "tapgate filter rollback NAME"
brings a removed filter back.`,
		Example:           "  tapgate filter undefine my-filter",
		Args:              arguments(1, 1, "the name of a filter"),
		ValidArgsFunction: t.completeFilter(storedFilter, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			ask, err := t.clientToChange(c.Context())
			if err != nil {
				return err
			}
			done, err := ask.Undefine(c.Context(), args[0], force)
			switch {
			case errors.Is(err, client.ErrInUse):
				return fmt.Errorf("%w; --force removes it nevertheless", err)
			case err != nil:
				return err
			}
			fmt.Fprintf(t.stdout, "filter %s undefined", args[0])
			if done.BuiltIn {
				fmt.Fprint(t.stdout, "; the built-in one is in its place")
			}
			fmt.Fprintln(t.stdout)
			return t.printFilterChange(done)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "remove it even if it is in use")
	return c
}
