package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tapgate/internal/demo"
)

func newDemoCommand(t *tool) *cobra.Command {
	var keep, asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch a port being guarded by the example filters",
		Long: `Makes a throw-away network in namespaces of its own, with a guest that offers FTP,
HTTP and SSH, and a neighbour that offers DNS. The guest's port is guarded with the
example filters one after the other, and everything is tried with real clients: what
each filter should let through, and what not. A table shows what was tried, what should
happen, what did, and which rule decided.

Nothing outside of that network is touched, and nothing is left behind, also after
Ctrl-C. It takes some seconds. The exit code is 0 if all went as it should, else 1.

Needs root.`,
		Example: `  tapgate demo
  tapgate demo --keep              look around in the network afterwards
  tapgate demo --json | jq '.steps[].rows[] | select(.ok | not)'`,
		Args:              arguments(0, 0, "flags"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			o := demo.Options{Out: t.stdout, Color: showsColors(t.stdout), Keep: keep, In: t.stdin}
			if asJSON {
				if keep {
					return usagef("--keep tells how to get into the network, for which there is no place with --json")
				}
				o.Out = nil
			}
			report, err := demo.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				if err := t.printJSON(report); err != nil {
					return err
				}
			}
			if !report.OK() {
				return errFaults
			}
			return nil
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "leave the network running until Enter or Ctrl-C")
	jsonFlag(c, &asJSON)
	return c
}

// showsColors tells a terminal whose user has nothing against colours
// (no-color.org) from everything else.
func showsColors(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
