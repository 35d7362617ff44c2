package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newUnbindCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "unbind PORT",
		Short: "Stop guarding a port",
		Long: `Takes the programs off the port and forgets its binding, connections and counters.
From then on nothing is filtered there. The device may be gone already.

Needs root.`,
		Example:           "  tapgate unbind vnet0",
		Args:              arguments(1, 1, "a port"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			port := args[0]
			ask, err := t.clientToChange(c.Context())
			if err != nil {
				return err
			}
			if err := ask.Unbind(c.Context(), port); err != nil {
				return err
			}
			fmt.Fprintf(t.stdout, "port %s unbound\n", port)
			return nil
		},
	}
}
