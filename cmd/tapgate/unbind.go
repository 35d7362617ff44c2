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
			return t.store().Update(c.Context(), func(u *store.Update) error {
				released := h.Release(c.Context(), port)
				var notGuarded *datapath.NotGuardedError
				if released != nil && !errors.As(released, &notGuarded) {
					return released
				}
				forgotten := u.Unbind(port)
				if errors.Is(forgotten, store.ErrNotFound) && released == nil {
					forgotten = nil // guarded, but by a binding that was not stored
				}
				if forgotten != nil {
					return forgotten
				}
				fmt.Fprintf(t.stdout, "port %s unbound\n", port)
				return nil
			})
		},
	}
}
