package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newSetsCommand(t *tool) *cobra.Command {
	c := &cobra.Command{
		Use:   "sets",
		Short: "Bring the kernel sets that filters name up to date",
		Long: `A rule with ipset="NAME" looks in a copy of the kernel's set NAME (ip_set), which is
made when the port is bound. These commands bring the copies up to date: members
that came or went, and sets that are gone, which then match nothing.`,
		Example: "  tapgate sets refresh\n  tapgate sets watch --interval 10s",
		Args:    onlyCommands,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSetsRefreshCommand(t), newSetsWatchCommand(t))
	return c
}

func newSetsRefreshCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "refresh [PORT]",
		Short: "Read the sets of a port, or of all ports, once",
		Long: `Reads the kernel sets that the port's filter names, or those of all ports, and puts
into force what changed. A set that is gone is emptied: it matches nothing until it is
there again. One whose type is another than when the port was bound matches nothing
until the port is bound again.

Needs root.`,
		Example:           "  ipset add blocked 192.0.2.7\n  tapgate sets refresh",
		Args:              arguments(0, 1, "a port"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			changes, err := ask.RefreshSets(c.Context(), portArgument(args))
			if asJSON {
				err = errors.Join(err, t.printJSON(append([]client.SetChange{}, changes...)))
			} else {
				t.printSetChanges(changes)
			}
			if err != nil {
				return err
			}
			return unread(changes)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func newSetsWatchCommand(t *tool) *cobra.Command {
	var interval time.Duration
	c := &cobra.Command{
		Use:   "watch [PORT]",
		Short: "Follow the sets of a port, or of all ports",
		Long: `Does what "tapgate sets refresh" does, again and again, and tells what changed, until
it is ended. Ports that are bound later are followed too.

Needs root.`,
		Example:           "  tapgate sets watch --interval 10s",
		Args:              arguments(0, 1, "a port"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			if interval < time.Second {
				return usagef("--interval %s is too short: expected at least 1s", interval)
			}
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			return t.watchSets(c.Context(), ask, portArgument(args), interval)
		},
	}
	c.Flags().DurationVar(&interval, "interval", 10*time.Second, "`time` between two looks, such as 10s or 1m")
	must(c.RegisterFlagCompletionFunc("interval", cobra.NoFileCompletions))
	return c
}

func portArgument(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// watchSets looks until ctx ends. What fails once may work the next time, and
// is told only when it is new.
func (t *tool) watchSets(ctx context.Context, ask *client.Client, port string, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	told := ""
	for {
		changes, err := ask.RefreshSets(ctx, port)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = unread(changes)
		}
		switch {
		case err == nil:
			told = ""
		case err.Error() != told:
			t.complain(err)
			told = err.Error()
		}
		var news []client.SetChange
		for _, c := range changes {
			if c.Changed {
				news = append(news, c)
			}
		}
		t.printSetChanges(news)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// unread makes an error of the sets that could not be read.
func unread(changes []client.SetChange) error {
	var faults []error
	for _, c := range changes {
		if c.Failed != "" {
			faults = append(faults, fmt.Errorf("port %s: %s; it keeps its members", c.Port, c.Failed))
		}
	}
	return errors.Join(faults...)
}

func (t *tool) printSetChanges(changes []client.SetChange) {
	for _, c := range changes {
		switch {
		case c.Failed != "":
		case c.Fault != "":
			fmt.Fprintf(t.stdout, "port %s: %s\n", c.Port, c.Fault)
		default:
			fmt.Fprintf(t.stdout, "port %s: set %s: %s, %d added, %d removed\n", c.Port, c.Name, plural(c.Members, "member"), c.Added, c.Removed)
		}
	}
}

// printSets tells how a port's sets stand.
func (t *tool) printSets(sets []client.SetState) {
	for _, s := range sets {
		state := plural(s.Members, "member")
		if s.Fault != "" {
			state = s.Fault
		}
		fmt.Fprintf(t.stdout, "set %s (%s): %s, read %s\n", s.Name, s.Type, state, s.ReadAt.Format(time.RFC3339))
	}
}
