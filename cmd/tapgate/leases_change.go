package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/agent"
)

func newLeasesAddCommand(t *tool) *cobra.Command {
	var lasts string
	var asJSON bool
	c := &cobra.Command{
		Use:   "add PORT ADDRESS",
		Short: "Give the guest of a port an address",
		Long: `Lets the guest use an address as if it had been learned: one that it cannot teach by
itself, or whose binding forbids to learn (CTRL_IP_LEARNING=none). It may be a whole
IPv6 prefix, as of a router. A lease of the same address is replaced.

It ends with the time that --for gives, or with the binding. It is refused where it
would have no effect: where the binding gives the guest's addresses itself (--param
IP=…), and where the filter does not ask for any of that family.

Needs root.`,
		Example:           "  tapgate leases add vnet0 10.0.0.5\n  tapgate leases add vnet0 2001:db8:1::/56 --for 12h",
		Args:              arguments(2, 2, "a port and an address"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			end, err := parseLasting(lasts, time.Now())
			if err != nil {
				return err
			}
			return t.changeLease(c, args, asJSON, func(ask *client.Client) (*client.LeaseChange, error) {
				return ask.AddLease(c.Context(), args[0], args[1], end)
			})
		},
	}
	c.Flags().StringVar(&lasts, "for", "", "for how `long`: 30m, 12h, 7d; for good without it")
	must(c.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"1h", "24h", "7d"}, cobra.ShellCompDirectiveNoFileComp)))
	jsonFlag(c, &asJSON)
	return c
}

// parseLasting reads how long a lease is to last; "" is for good, which is the zero
// time.
func parseLasting(text string, now time.Time) (end time.Time, err error) {
	if text == "" {
		return time.Time{}, nil
	}
	var days int
	lasts, err := time.ParseDuration(text)
	if n, scanned := fmt.Sscanf(text+"\n", "%dd\n", &days); scanned == nil && n == 1 && days <= 36500 {
		lasts, err = time.Duration(days)*24*time.Hour, nil
	}
	if err != nil || lasts < time.Second {
		return time.Time{}, usagef("--for %q is no time that a lease can last; write 30m, 12h, 7d", text)
	}
	return now.Add(lasts).UTC().Truncate(time.Second), nil
}

func newLeasesPinCommand(t *tool, pinned bool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "pin PORT ADDRESS",
		Short: "Keep a lease whatever happens",
		Long: `Makes a lease one that does not end, and that neither the guest nor a server takes
back: only "tapgate leases unpin" and "delete" do, and the end of the binding.

Needs root.`,
		Example:           "  tapgate leases pin vnet0 10.0.0.5",
		Args:              arguments(2, 2, "a port and an address"),
		ValidArgsFunction: t.completeLease(unpinnedLease),
		RunE: func(c *cobra.Command, args []string) error {
			return t.changeLease(c, args, asJSON, func(ask *client.Client) (*client.LeaseChange, error) {
				return ask.PinLease(c.Context(), args[0], args[1], pinned)
			})
		},
	}
	if !pinned {
		c.Use, c.Short = "unpin PORT ADDRESS", "Let a lease end as it would have"
		c.Long = `Takes back what "tapgate leases pin" did. A lease whose end has passed meanwhile is no
more.

Needs root.`
		c.Example, c.ValidArgsFunction = "  tapgate leases unpin vnet0 10.0.0.5", t.completeLease(pinnedLease)
	}
	jsonFlag(c, &asJSON)
	return c
}

func newLeasesDeleteCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "delete PORT ADDRESS",
		Short: "Take an address away from the guest of a port",
		Long: `Ends a lease now. Connections of the address are not ended by themselves: "tapgate
conntrack PORT --address ADDRESS --flush" does that.

The guest may learn the address again, as CTRL_IP_LEARNING of its binding allows.

Needs root.`,
		Example:           "  tapgate leases delete vnet0 10.0.0.5",
		Args:              arguments(2, 2, "a port and an address"),
		ValidArgsFunction: t.completeLease(anyLease),
		RunE: func(c *cobra.Command, args []string) error {
			return t.changeLease(c, args, asJSON, func(ask *client.Client) (*client.LeaseChange, error) {
				return ask.DeleteLease(c.Context(), args[0], args[1])
			})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// changeLease makes a change of the lease of a port (args[0]) and an address
// (args[1]), and tells of it.
func (t *tool) changeLease(c *cobra.Command, args []string, asJSON bool, change func(*client.Client) (*client.LeaseChange, error)) error {
	if _, err := agent.ParseAddress(args[1]); err != nil {
		return usageError{err}
	}
	ask, err := t.clientToChange(c.Context())
	if err != nil {
		return err
	}
	done, err := change(ask)
	if err != nil {
		return err
	}
	if asJSON {
		err = t.printJSON(done)
	} else {
		fmt.Fprintf(t.stdout, "port %s: lease of %s %s%s\n", done.Port, done.Lease.Address, done.What, lastsText(done, time.Now()))
	}
	if err != nil {
		return err
	}
	t.printNotes(done.Notes)
	if t.printPortChanges([]client.PortChange{done.Change}, asJSON) {
		return errFaults
	}
	return nil
}

// lastsText says when a lease ends that somebody was given.
func lastsText(c *client.LeaseChange, now time.Time) string {
	if c.What == client.LeaseDeleted || c.Lease.Pinned || c.Lease.End.IsZero() {
		return ""
	}
	if text := leaseEnd(&c.Lease, now); text != "ended" {
		return ", ends " + text
	}
	return ""
}
