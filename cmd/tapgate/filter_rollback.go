package main

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
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
in the history, and it can be rolled back. Ports that are bound go on enforcing what
they enforce, until "tapgate bind PORT" binds them again; they are named.

--dry-run shows what would be changed, as a diff, and changes nothing.`,
		Example: `  tapgate filter rollback my-filter --dry-run
  tapgate filter rollback my-filter
  tapgate history my-filter
  tapgate filter rollback my-filter --to 3f2a91bc`,
		Args:              arguments(1, 1, "the name of a filter"),
		ValidArgsFunction: t.completeFormerFilter,
		RunE: func(c *cobra.Command, args []string) error {
			if r.dryRun {
				return t.store().View(c.Context(), func(v *store.View) error { return r.show(v, args[0]) })
			}
			return t.update(c.Context(), func(u *store.Update) error { return r.do(u, args[0]) })
		},
	}
	c.Flags().StringVar(&r.to, "to", "", "the `revision` to go back to")
	c.Flags().BoolVar(&r.dryRun, "dry-run", false, "show what would be changed, and change nothing")
	c.Flags().BoolVar(&r.diff, "diff", false, "show what is changed")
	must(c.RegisterFlagCompletionFunc("to", t.completeRevision(formerRevision)))
	return c
}

// show tells what do would do.
func (r *rollback) show(v *store.View, name string) error {
	f, revision, err := v.Revision(name, r.to)
	if err != nil {
		return err
	}
	if err := v.Check(f); err != nil {
		return err
	}
	text := difference(v, f, revision)
	if text == "" {
		fmt.Fprintf(r.stdout, "filter %s has that text already\n", name)
		return nil
	}
	fmt.Fprint(r.stdout, text)
	ports, err := v.Reach(name)
	if err == nil && len(ports) > 0 {
		fmt.Fprintf(r.stderr, "note: %s would have to be bound again\n", strings.Join(ports, ", "))
	}
	return err
}

func (r *rollback) do(u *store.Update, name string) error {
	f, revision, err := u.Revision(name, r.to)
	if err != nil {
		return err
	}
	text := difference(u.View, f, revision)
	change, err := u.Rollback(f, nil)
	if err != nil {
		return err
	}
	if text == "" {
		fmt.Fprintf(r.stdout, "filter %s has that text already\n", name)
		return nil
	}
	if r.diff {
		fmt.Fprint(r.stdout, text)
	}
	of := ""
	if !revision.Since.IsZero() {
		of = " of " + localTime(revision.Since)
	}
	fmt.Fprintf(r.stdout, "filter %s rolled back to %s%s\n", name, store.Short(revision.Digest), of)
	d, err := describeChange(u.View, name, change)
	if err != nil {
		return err
	}
	d.remind(r.tool, "")
	return nil
}

// difference is between what a filter is, if it can be read, and what it will
// be; empty if there is none.
func difference(v *store.View, to *store.Filter, revision store.Revision) string {
	var now []byte
	if f, err := v.Filter(to.Name); err == nil {
		now = f.Source
	}
	text := diff.Diff(to.Name+" now", now, to.Name+" "+store.Short(revision.Digest), to.Source)
	_, hunks, _ := strings.Cut(string(text), "\n") // the first line names a command
	return hunks
}
