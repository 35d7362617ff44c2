package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tapgate/internal/datapath"
	"tapgate/internal/store"
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
			h, err := t.openHost(t.bpffs)
			if err != nil {
				return err
			}
			return t.update(c.Context(), func(u *store.Update) error {
				err := u.Unbind(port, func(stored bool) error {
					err := h.Release(c.Context(), port)
					var notGuarded *datapath.NotGuardedError
					if !errors.As(err, &notGuarded) {
						return err
					}
					if stored {
						return nil
					}
					_, err = u.Binding(port)
					return err
				})
				if err != nil {
					return err
				}
				fmt.Fprintf(t.stdout, "port %s unbound\n", port)
				return nil
			})
		},
	}
}
