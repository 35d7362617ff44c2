package main

import (
	"io"

	"github.com/spf13/cobra"
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
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			f, err := ask.FilterRevision(c.Context(), args[0], revision)
			if err != nil {
				return err
			}
			text := f.XML
			if source {
				text = f.Source
			}
			_, err = io.WriteString(t.stdout, text)
			return err
		},
	}
	c.Flags().BoolVar(&source, "source", false, "print the text as it was defined")
	c.Flags().StringVar(&revision, "revision", "", "print the text of that `revision`")
	must(c.RegisterFlagCompletionFunc("revision", t.completeRevision(anyRevision)))
	return c
}
