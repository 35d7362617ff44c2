package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

func newStatsCommand(t *tool) *cobra.Command {
	var asJSON, all bool
	c := &cobra.Command{
		Use:   "stats PORT",
		Short: "Show what a port's rules have counted",
		Long: `Shows the packets that a port passed and dropped, why it dropped those that no rule
decided about, why packets had the state INVALID, and what each rule has counted, with
the file and line where the rule stands. Counters live on when the port is bound again; those of a rule that is new or
changed begin at 0.

Needs root.`,
		Example:           "  tapgate stats vnet0\n  tapgate stats vnet0 --json | jq '.clauses[] | select(.packets == 0) | .origin'",
		Args:              arguments(1, 1, "a port"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			stats, err := ask.Stats(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return t.printJSON(stats)
			}
			t.printStats(stats, all)
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "show rules that have counted nothing too")
	jsonFlag(c, &asJSON)
	return c
}

func (t *tool) printStats(s *client.Stats, all bool) {
	fmt.Fprintf(t.stdout, "port %s: %s, filter %s, guest %s", s.Name, s.State, s.Filter, s.MAC)
	if params := parametersText(s.Parameters); params != "" {
		fmt.Fprintf(t.stdout, " %s", params)
	}
	if s.Learning != nil || len(s.Addresses) > 0 {
		mode := ""
		if s.Learning != nil {
			mode = " by " + s.Learning.Mode
		}
		fmt.Fprintf(t.stdout, "\nlearned%s: %s", mode, orDash(learnedText(&s.Port)))
	}
	if s.Observed != (client.Observed{}) {
		in, out, claims := s.Observed.In, s.Observed.Out, s.Observed.Claims
		fmt.Fprintf(t.stdout, "\nobserved for that: %s to the guest, %s from it, %s that claim an address", observedText(in), observedText(out), observedText(claims))
	}
	fmt.Fprintf(t.stdout, "\nconnections: %d of %d now, %d opened, %d expired, %d given up for others, %d refused for lack of room; the host's table has %d of %d\n",
		s.Connections, s.Quota, s.Opened, s.Expired, s.GivenUp, s.Refused, s.Table.Used, s.Table.Size)
	t.printSets(s.Sets)
	silent := 0
	for _, d := range policy.Directions {
		total, answers := s.In, s.InAnswers
		if d == policy.Out {
			total, answers = s.Out, s.OutAnswers
		}
		fmt.Fprintf(t.stdout, "\n%s: %s passed, %s dropped\n", d, counterText(total.Passed), counterText(total.Dropped))
		rows := &table{}
		for _, reason := range inOrder(total.DroppedFor, verdict.NumReasons) {
			if reason != verdict.Clause.String() && reason != verdict.Default.String() {
				rows.add(fmt.Sprint(total.DroppedFor[reason]), "dropped: "+reason)
			}
		}
		for _, why := range inOrder(total.InvalidFor, packet.NumInvalid) {
			rows.add(fmt.Sprint(total.InvalidFor[why]), "INVALID: "+why)
		}
		if answers != (client.Answers{}) {
			rows.add(fmt.Sprint(answers.Sent), "answered with a reset or an ICMP error")
			rows.add(fmt.Sprint(answers.Suppressed), "not answered, since there were too many")
		}
		rows.flush(t.stdout, "  ")
		for _, stage := range stageOrder(d) {
			fmt.Fprintf(t.stdout, "  %s stage\n", stageName(stage))
			rows.add("PACKETS", "BYTES", "RULE", "FROM")
			for _, c := range s.Clauses {
				if c.Direction != d.String() || c.Stage != stageName(stage) {
					continue
				}
				if c.Packets == 0 && !all {
					silent++
					continue
				}
				rows.add(fmt.Sprint(c.Packets), fmt.Sprint(c.Bytes), ruleText(&c.Clause), ruleOrigin(&c.Clause))
			}
			if len(rows.rows) == 1 {
				rows.rows = [][]string{{"nothing was counted"}}
			}
			rows.flush(t.stdout, "    ")
		}
	}
	if silent > 0 {
		fmt.Fprintf(t.stdout, "\n%s counted nothing; --all shows them\n", plural(silent, "rule"))
	}
}

// inOrder are the names that count something, in the order of their numbers, and
// those at last that this program does not know.
func inOrder[N interface {
	~uint8
	fmt.Stringer
}](counts map[string]uint64, numbers N) []string {
	var names []string
	for n := range numbers {
		if counts[n.String()] > 0 {
			names = append(names, n.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] > 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func counterText(c client.Counter) string {
	return fmt.Sprintf("%s (%s)", plural(c.Packets, "packet"), plural(c.Bytes, "byte"))
}

// ruleText is the rule's text, its chain in front unless that is the root.
func ruleText(c *client.Clause) string {
	text := c.Text
	if !strings.Contains(text, " ") {
		text += " everything"
	}
	if c.Chain != "" && c.Chain != "root" && c.Stage == "link" {
		text = c.Chain + ": " + text
	}
	return text + commentText(c.Comment)
}

// observedText counts frames that were to be copied to who learns.
func observedText(c client.ObservedCounts) string {
	text := plural(int(c.Told), "frame")
	if c.Limited > 0 {
		text += fmt.Sprintf(" (%d more beyond the limit)", c.Limited)
	}
	if c.Lost > 0 {
		text += fmt.Sprintf(" (%d more lost for lack of room)", c.Lost)
	}
	return text
}
