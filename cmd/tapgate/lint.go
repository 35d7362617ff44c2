package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/lint"
)

type findingShown struct {
	ID       string   `json:"id"`
	Severity string   `json:"severity"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Column   int      `json:"column,omitempty"`
	Filter   string   `json:"filter,omitempty"`
	Path     []string `json:"path,omitempty"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

func newLintCommand(t *tool) *cobra.Command {
	var guest guestFlags
	var lenient, quiet, asJSON bool
	c := &cobra.Command{
		Use:   "lint NAME|FILE",
		Short: "Find what a filter does not do as meant",
		Long: `Works a filter out, with its references, and prints one line for each finding: file,
line, column, severity, a sentence, what may help, and the finding's id.

A problem is a rule that can never match or has no effect, or a way around rules
that the filter itself shows to be unwanted: frames with a VLAN tag or IPv6 where
all the rest of IPv4 is dropped, an accept before a check of the sender, a RELATED
that nothing can be. A notice is a trait of the language that the filter depends on,
such as that a "drop" with a direction but no state works in both, or that the end of
a chain accepts.

No parameters are needed: what depends on a value that is not known is left open. With
--mac and --param the findings are those for that guest.

The exit code is 1 if there are problems, else 0.

What is found, by id:

` + kindsText(),
		Example: `  tapgate lint my-filter.xml
  tapgate lint --quiet my-filter.xml                       problems only
  tapgate lint my-filter --mac 52:54:00:00:00:01 --param IP=10.0.0.5`,
		Args:              arguments(1, 1, "the name of a filter or a file"),
		ValidArgsFunction: t.completeFilter(anyFilter, cobra.ShellCompDirectiveDefault),
		RunE: func(c *cobra.Command, args []string) error {
			in := lint.Input{}
			var err error
			if in.MAC, err = guest.address(); err != nil {
				return err
			}
			if in.Parameters, err = guest.parameters(); err != nil {
				return err
			}
			r, err := t.resolver(c.Context())
			if err != nil {
				return err
			}
			if in.Filter, err = r.find(t, args[0], lenient); err != nil {
				return err
			}
			in.Lookup = r.lookup
			if in.Settings, err = guest.settings(r); err != nil {
				return err
			}
			findings, err := lint.Run(in)
			if r.fault != nil {
				return r.fault
			}
			if err != nil {
				return err
			}
			return t.printFindings(in.Filter, findings, quiet, asJSON)
		},
	}
	guest.register(c)
	c.Flags().BoolVar(&lenient, "lenient", false, "accept a file that libvirt accepts, with warnings")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "problems only")
	jsonFlag(c, &asJSON)
	return c
}

// kindsText lists the ids with what they stand for.
func kindsText() string {
	var b strings.Builder
	rows := &table{}
	for _, k := range lint.Kinds {
		rows.add(k.ID, k.About)
	}
	rows.flush(&b, "  ")
	return strings.TrimRight(b.String(), "\n")
}

func (t *tool) printFindings(filter string, findings []lint.Finding, quiet, asJSON bool) error {
	shown, problems, notices := []findingShown{}, 0, 0
	for _, f := range findings {
		if f.Severity == lint.Problem {
			problems++
		} else if notices++; quiet {
			continue
		}
		if !asJSON {
			fmt.Fprintln(t.stdout, f)
			continue
		}
		s := findingShown{f.Kind.ID, f.Severity.String(), f.Pos.File, f.Pos.Line, f.Pos.Column, f.Filter, nil, f.Message, f.Hint}
		if len(f.Path) > 1 {
			s.Path = f.Path
		}
		shown = append(shown, s)
	}
	switch {
	case asJSON:
		if err := t.printJSON(shown); err != nil {
			return err
		}
	case !quiet:
		fmt.Fprintf(t.stdout, "%s: %s, %s\n", filter, plural(problems, "problem"), plural(notices, "notice"))
	}
	if problems > 0 {
		return errFaults
	}
	return nil
}
