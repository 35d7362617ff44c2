package main

import (
	"github.com/spf13/cobra"

	"tapgate/internal/store"
	"tapgate/nwfilter"
)

func newFilterDumpCommand(t *tool) *cobra.Command {
	var source bool
	var revision string
	c := &cobra.Command{
		Use:   "dump NAME",
		Short: "Print a filter's XML",
		Long: `Prints a filter as libvirt would: with its UUID, in a fixed form, without comments.
With --source it prints the text as it was defined, whose lines are those that
"show", "stats" and "explain" name. --revision prints a text that the filter had, as
"tapgate history NAME" names it.`,
		Example:           "  tapgate filter dump clean-traffic\n  tapgate filter dump --source my-filter\n  tapgate filter dump my-filter --revision 3f2a91bc",
		Args:              arguments(1, 1, "the name of a filter"),
		ValidArgsFunction: t.completeFilter(anyFilter, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			return t.store().View(c.Context(), func(v *store.View) error {
				f, err := v.Filter(args[0])
				if revision != "" {
					f, _, err = v.Revision(args[0], revision)
				}
				if err != nil {
					return err
				}
				text := []byte(nwfilter.Format(f.Filter))
				if source {
					text = f.Source
				}
				_, err = t.stdout.Write(text)
				return err
			})
		},
	}
	c.Flags().BoolVar(&source, "source", false, "print the text as it was defined")
	c.Flags().StringVar(&revision, "revision", "", "print the text of that `revision`")
	must(c.RegisterFlagCompletionFunc("revision", t.completeRevision(anyRevision)))
	return c
}
