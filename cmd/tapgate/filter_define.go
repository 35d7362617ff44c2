package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newFilterDefineCommand(t *tool) *cobra.Command {
	var lenient, dryRun bool
	c := &cobra.Command{
		Use:   "define FILE…",
		Short: "Store filters, or replace stored ones",
		Long: `Checks filters and stores them under their names. A filter that is stored already
is replaced; it keeps its UUID if the document has none. Filters may reference what
is not defined yet, but no references may lead back to where they began. "-" stands
for the standard input. The earlier text is kept: "tapgate filter rollback" brings it
back.

All ports whose filters lead to it enforce the new text at once, each without a
moment in between and with its connections. If one of them cannot, nothing is
changed, and the port is named with the reason. --dry-run tells which ports would be
updated, and whether they could, and changes nothing.`,
		Example: `  tapgate filter define my-filter.xml
  tapgate filter define --dry-run my-filter.xml
  tapgate filter define --lenient /etc/libvirt/nwfilter/*.xml`,
		Args:              arguments(1, -1, "a file"),
		ValidArgsFunction: completeXML,
		RunE: func(c *cobra.Command, args []string) error {
			var documents []client.Document
			failed := false
			for _, path := range args {
				f, err := t.readFilter(path, lenient)
				if err != nil {
					t.complain(err)
					failed = true
					continue
				}
				documents = append(documents, client.Document{Source: string(f.Source), File: f.File, Lenient: lenient})
			}
			if len(documents) == 0 {
				return errFaults
			}
			ask, err := t.clientToChange(c.Context())
			if err != nil {
				return err
			}
			for _, d := range documents {
				done, err := ask.Define(c.Context(), d, dryRun)
				if err != nil {
					t.complain(err)
					failed = true
					continue
				}
				if dryRun {
					fmt.Fprintf(t.stdout, "filter %s can be defined\n", done.Filter)
				} else {
					fmt.Fprintf(t.stdout, "filter %s %s\n", done.Filter, done.What)
				}
				failed = t.printFilterChange(done) != nil || failed
			}
			if failed {
				return errFaults
			}
			return nil
		},
	}
	c.Flags().BoolVar(&lenient, "lenient", false, "accept what libvirt accepts, with warnings")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would become of the ports, and change nothing")
	return c
}

// printFilterChange tells what else came of a change: at ports, and beside it.
func (t *tool) printFilterChange(done *client.FilterChange) error {
	t.printNotes(done.Notes)
	if t.printPortChanges(done.Ports, false) {
		return errFaults
	}
	return nil
}
