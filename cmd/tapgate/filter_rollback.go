package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tapgate/internal/store"
)

// rollback brings back a former text of a filter.
type rollback struct {
	*tool
	to           string
	dryRun, diff bool
}

func newFilterRollbackCommand(t *tool) *cobra.Command {
	r := &rollback{tool: t}
	c := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Bring back a former text of a filter",
		Long: `Defines a filter with a text that it had before: without --to with the last one that
is not the present one, so that rolling back twice ends where it began. What "tapgate
history NAME" shows under FROM and TO names the texts; the beginning of a name, four
digits or more, will do. A filter that was undefined comes back in the same way.

This is a change like any other: it is checked as "filter define" checks, it is shown
in the history, and it can be rolled back. All ports that use the filter enforce the
text at once; if one of them cannot, nothing is changed.

--dry-run shows what would be changed, as a diff and by port, and changes nothing.`,
		Example: `  tapgate filter rollback my-filter --dry-run
  tapgate filter rollback my-filter
  tapgate history my-filter
  tapgate filter rollback my-filter --to 3f2a91bc`,
		Args:              arguments(1, 1, "the name of a filter"),
		ValidArgsFunction: t.completeFormerFilter,
		RunE: func(c *cobra.Command, args []string) error {
			return r.do(c.Context(), args[0])
		},
	}
	c.Flags().StringVar(&r.to, "to", "", "the `revision` to go back to")
	c.Flags().BoolVar(&r.dryRun, "dry-run", false, "show what would be changed, and change nothing")
	c.Flags().BoolVar(&r.diff, "diff", false, "show what is changed")
	must(c.RegisterFlagCompletionFunc("to", t.completeRevision(formerRevision)))
	return c
}

func (r *rollback) do(ctx context.Context, name string) error {
	ask, err := r.clientToChange(ctx)
	if err != nil {
		return err
	}
	done, err := ask.Rollback(ctx, name, r.to, r.dryRun)
	if err != nil {
		return err
	}
	if done.Diff == "" {
		fmt.Fprintf(r.stdout, "filter %s has that text already\n", name)
		return r.printFilterChange(done)
	}
	if r.diff || r.dryRun {
		fmt.Fprint(r.stdout, done.Diff)
	}
	if !r.dryRun && done.Revision != nil {
		of := ""
		if !done.Revision.Since.IsZero() {
			of = " of " + localTime(done.Revision.Since)
		}
		fmt.Fprintf(r.stdout, "filter %s rolled back to %s%s\n", name, store.Short(done.Revision.Digest), of)
	}
	return r.printFilterChange(done)
}
