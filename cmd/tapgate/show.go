package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
)

func newShowCommand(t *tool) *cobra.Command {
	var guest guestFlags
	var lenient, asJSON bool
	c := &cobra.Command{
		Use:   "show NAME|FILE",
		Short: "Show what a filter comes down to for a guest",
		Long: `Works a filter out, with its references, variables and chains, and prints the rules
that a port would enforce: for each direction the two stages, in the order in which
a packet passes them.

The link stage sees every frame. Its rules stand in chains; a frame enters a chain
if it meets the chain's condition, and the end of a chain accepts it. The network
stage sees IPv4 and IPv6. In each stage the first rule that matches decides; "drop"
is final, "accept" ends only its stage, and what no rule matches is accepted.

Each rule is followed by the file and line where it stands, and the references that
led there. A mirrored rule is the copy, with source and destination exchanged, that
lets the other direction of the connections pass.`,
		Example: `  tapgate show clean-traffic --mac 52:54:00:00:00:01 --param IP=10.0.0.5
  tapgate show ./my-filter.xml --mac 52:54:00:00:00:01 --param IP=10.0.0.5,10.0.0.6`,
		Args:              arguments(1, 1, "the name of a filter or a file"),
		ValidArgsFunction: t.completeFilter(anyFilter, cobra.ShellCompDirectiveDefault),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := t.resolver(c.Context())
			if err != nil {
				return err
			}
			name, err := r.find(t, args[0], lenient)
			if err != nil {
				return err
			}
			p, err := guest.resolve(r, name)
			if err != nil {
				return err
			}
			values, err := guest.settings(r)
			if err != nil {
				return err
			}
			if asJSON {
				return t.printJSON(policyShown{p.Filter, showLists(p), values.Set()})
			}
			t.printPolicy(p, &guest, values.Set())
			return nil
		},
	}
	guest.register(c)
	c.Flags().BoolVar(&lenient, "lenient", false, "accept a file that libvirt accepts, with warnings")
	jsonFlag(c, &asJSON)
	return c
}

type policyShown struct {
	Filter string      `json:"filter"`
	Lists  []listShown `json:"lists"`
	// Settings that are not the default.
	Settings settings.Values `json:"settings,omitempty"`
}

type listShown struct {
	Direction string      `json:"direction"`
	Stage     string      `json:"stage"`
	Items     []itemShown `json:"items"`
}

// itemShown is a clause or a chain.
type itemShown struct {
	Clause *clauseShown `json:"clause,omitempty"`
	Chain  *chainShown  `json:"chain,omitempty"`
}

type chainShown struct {
	Name       string        `json:"name"`
	Priority   int           `json:"priority"`
	Conditions []string      `json:"conditions"`
	Clauses    []clauseShown `json:"clauses"`
}

func showLists(p *policy.Policy) []listShown {
	var lists []listShown
	for _, d := range policy.Directions {
		for _, stage := range stageOrder(d) {
			list := listShown{Direction: d.String(), Stage: stageName(stage), Items: []itemShown{}}
			for _, item := range p.List(d, stage).Items {
				list.Items = append(list.Items, showItem(item))
			}
			lists = append(lists, list)
		}
	}
	return lists
}

func showItem(item policy.Item) itemShown {
	if item.Clause != nil {
		c := showClause(item.Clause)
		return itemShown{Clause: &c}
	}
	chain := &chainShown{Name: item.Chain.Name, Priority: item.Chain.Priority, Conditions: conditionTexts(item.Chain.Conditions), Clauses: []clauseShown{}}
	for _, c := range item.Chain.Clauses {
		chain.Clauses = append(chain.Clauses, showClause(c))
	}
	return itemShown{Chain: chain}
}

func (t *tool) printPolicy(p *policy.Policy, guest *guestFlags, set settings.Values) {
	given := append([]string{}, guest.params...)
	if guest.mac != "" {
		given = append([]string{guest.mac}, given...)
	}
	fmt.Fprintf(t.stdout, "filter %s", p.Filter)
	if len(given) > 0 {
		fmt.Fprintf(t.stdout, " for %s", strings.Join(given, " "))
	}
	fmt.Fprintf(t.stdout, ": %s\n", plural(len(p.Clauses), "rule"))
	for _, v := range set {
		s := settings.Find(v.Name)
		fmt.Fprintf(t.stdout, "setting %s: %s (%s)\n", s.ShortName(), s.WithUnit(v.Value), v.From)
	}
	for _, d := range policy.Directions {
		who := "what the guest receives"
		if d == policy.Out {
			who = "what the guest sends"
		}
		for i, stage := range stageOrder(d) {
			fmt.Fprintf(t.stdout, "\n%s (%s), %s: %s stage\n", d, who, [2]string{"first", "then"}[i], stageName(stage))
			t.printList(p.List(d, stage))
		}
	}
}

func (t *tool) printList(l *policy.List) {
	if len(l.Items) == 0 {
		fmt.Fprintln(t.stdout, "  no rules: everything is accepted")
		return
	}
	rows := &table{}
	for _, item := range l.Items {
		if item.Clause != nil {
			rows.add(clauseRow(item.Clause)...)
			continue
		}
		rows.flush(t.stdout, "  ")
		chain := item.Chain
		fmt.Fprintf(t.stdout, "  chain %s, priority %d: enter if %s\n", chain.Name, chain.Priority, jumpText(chain))
		for _, c := range chain.Clauses {
			rows.add(clauseRow(c)...)
		}
		rows.flush(t.stdout, "    ")
		fmt.Fprintln(t.stdout, "    end of chain: accept")
	}
	rows.flush(t.stdout, "  ")
	if last := l.Items[len(l.Items)-1].Clause; last == nil || !certain(last) {
		fmt.Fprintln(t.stdout, "  otherwise: accept")
	}
}

// certain tells whether a clause ends every walk.
func certain(c *policy.Clause) bool {
	return len(c.Conditions) == 0 && c.ConnLimit == nil && c.IPSet == nil && c.Action != nwfilter.Continue
}

func clauseRow(c *policy.Clause) []string {
	return []string{strconv.Itoa(c.ID), clauseText(c), originText(c.Origin, c.Mirrored)}
}
