package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/store"
)

func newHistoryCommand(t *tool) *cobra.Command {
	var flags historyFlags
	c := &cobra.Command{
		Use:   "history [PORT|FILTER]",
		Short: "Show who changed what, and when",
		Long: `Shows the changes of filters, bindings, settings and of leases by people, the newest
first: when, by whom, from which text to which, and what came of it. With the name of a port or a filter it
shows only the changes of that, with "host" those of the host's settings.

The texts of a filter are named by the beginning of their digests, the SHA-256 of the
stored file: "tapgate filter rollback NAME --to REVISION" brings one back, "tapgate
filter dump --source NAME --revision REVISION" prints it.

A change is written down before it is made, and again when it has been made. One
that a crash interrupted is shown as what became of it. Who became root by logging
in as somebody else is shown by both names: as the kernel knows it (the login of the
session), or else as sudo says it.

The journal is the file "journal" in the state directory; with "journal.1", the one
before, it holds some 7,000 changes or more. The former texts of filters are kept in
"revisions" while the journal names them: 100 of each filter, and 64 MiB of all.`,
		Example: `  tapgate history
  tapgate history my-filter
  tapgate history vnet0 --since 7d
  tapgate history --since 2026-05-04 --limit 0 --json | jq -r '.[] | select(.result != "done") | .detail'`,
		Args:              arguments(0, 1, "one port or filter"),
		ValidArgsFunction: t.completeChanged,
		RunE: func(c *cobra.Command, args []string) error {
			wanted, err := flags.check(args, time.Now())
			if err != nil {
				return err
			}
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			history, err := ask.History(c.Context())
			if err != nil {
				return err
			}
			if err := t.printHistory(history.Entries, &wanted, flags.asJSON); err != nil {
				return err
			}
			return t.reportFaults(history.Faults)
		},
	}
	c.Flags().IntVar(&flags.limit, "limit", 50, "show at most so many `changes`, 0 for all")
	c.Flags().StringVar(&flags.since, "since", "", "show what changed since then: a `time` such as 2026-05-04 or \"2026-05-04 15:30\", or how long ago, such as 90m, 12h, 7d")
	must(c.RegisterFlagCompletionFunc("since", cobra.FixedCompletions([]string{"1h", "24h", "7d"}, cobra.ShellCompDirectiveNoFileComp)))
	jsonFlag(c, &flags.asJSON)
	return c
}

type historyFlags struct {
	limit  int
	since  string
	asJSON bool
}

// wantedHistory chooses entries.
type wantedHistory struct {
	name  string // empty for all
	since time.Time
	limit int // 0 for all
}

func (f *historyFlags) check(args []string, now time.Time) (w wantedHistory, err error) {
	if f.limit < 0 {
		return w, usagef("--limit %d makes no sense; it is a number of changes, 0 for all", f.limit)
	}
	w.limit = f.limit
	if len(args) > 0 {
		w.name = args[0]
	}
	if f.since != "" {
		w.since, err = parseSince(f.since, now)
	}
	return w, err
}

// parseSince reads a time of the local clock, or a time before now.
func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	var days int
	if n, err := fmt.Sscanf(text+"\n", "%dd\n", &days); err == nil && n == 1 && days >= 0 {
		return now.AddDate(0, 0, -days), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.DateTime, "2006-01-02T15:04:05"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usagef("--since %q is no time; write 2026-05-04, \"2026-05-04 15:30\", or how long ago: 90m, 12h, 7d", text)
}

// choose are the entries that are wanted, the newest first, and how many older
// ones there are.
func (w *wantedHistory) choose(entries []client.Entry) (chosen []client.Entry, older int) {
	for _, e := range slices.Backward(entries) {
		switch {
		case w.name != "" && e.Name != w.name, e.Time.Before(w.since):
		case w.limit > 0 && len(chosen) == w.limit:
			older++
		default:
			chosen = append(chosen, e)
		}
	}
	return chosen, older
}

func (t *tool) printHistory(entries []client.Entry, wanted *wantedHistory, asJSON bool) error {
	chosen, older := wanted.choose(entries)
	known := wanted.name == "" || slices.ContainsFunc(entries, func(e client.Entry) bool { return e.Name == wanted.name })
	switch {
	case !known:
		return fmt.Errorf("nothing is written down of %q; \"tapgate history\" shows all that is", wanted.name)
	case asJSON:
		return t.printJSON(append([]client.Entry{}, chosen...))
	case len(chosen) == 0 && wanted.since.IsZero():
		fmt.Fprintln(t.stdout, "nothing was changed yet")
		return nil
	case len(chosen) == 0:
		fmt.Fprintf(t.stdout, "nothing was changed since %s\n", localTime(wanted.since))
		return nil
	}
	rows := &table{}
	rows.add("TIME", "BY", "CHANGE", "FROM", "TO", "RESULT")
	for _, e := range chosen {
		from, to := "-", "-"
		if e.Kind == "filter" {
			from, to = orDash(store.Short(e.Before.Digest)), orDash(store.Short(e.After.Digest))
		}
		rows.add(localTime(e.Time), e.By.String(), changeText(&e), from, to, resultText(&e))
	}
	rows.flush(t.stdout, "")
	if older > 0 {
		fmt.Fprintf(t.stderr, "note: %s not shown; --limit 0 shows all\n", plural(older, "older change"))
	}
	return nil
}

func changeText(e *client.Entry) string {
	switch {
	case e.Kind == "settings":
		return e.Operation + " the host's settings"
	case e.Address != "":
		return fmt.Sprintf("%s port %s %s", e.Operation, e.Name, e.Address)
	}
	return fmt.Sprintf("%s %s %s", e.Operation, e.Kind, e.Name)
}

// resultText is what came of a change: what there is now, or what went wrong.
func resultText(e *client.Entry) string {
	parts := []string{e.Result}
	if e.Result == string(store.Done) && e.After.Summary != "" {
		parts = append(parts, e.After.Summary)
	}
	if e.Detail != "" {
		parts = append(parts, strings.ReplaceAll(e.Detail, "\n", "; "))
	}
	return strings.Join(parts, ": ")
}

func localTime(at time.Time) string { return at.Local().Format(time.DateTime) }
