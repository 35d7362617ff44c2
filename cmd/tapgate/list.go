package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newListCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the bound ports",
		Long: `Lists the bound ports: whether they are guarded, by what filter, for which guest, and
how many packets were passed and dropped in each direction.

A port that is bound and whose device is not there is "waiting": the daemon guards it
as soon as it comes. One that is "shut" passes nothing, since its filter could not be
put in force. One that is "learning" lets nothing pass but what teaches the address of
its guest, which the filter asks for and the binding does not give; LEARNED shows such
addresses, and which there are none of yet ("tapgate leases" tells more). Any other
state than "guarded" needs a look: "tapgate bind PORT" binds the port again. What is
amiss is told below the table.

Needs root.`,
		Example: "  tapgate list\n  tapgate list --json | jq -r '.[] | select(.state != \"guarded\") | .name'",
		Args:    arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			list, err := ask.Ports(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = t.printJSON(list.Ports)
			} else {
				t.printPorts(list.Ports)
			}
			if err != nil {
				return err
			}
			return t.reportFaults(list.Faults)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (t *tool) printPorts(ports []client.Port) {
	if len(ports) == 0 {
		fmt.Fprintln(t.stdout, "no port is bound; \"tapgate bind --help\" shows how")
		return
	}
	rows := &table{}
	learning := slices.ContainsFunc(ports, func(p client.Port) bool { return learnedText(&p) != "" })
	add := func(learned string, cells ...string) {
		if learning { // where nothing is learned, nobody misses it
			cells = slices.Insert(cells, 5, learned)
		}
		rows.add(cells...)
	}
	add("LEARNED", "PORT", "STATE", "FILTER", "MAC", "PARAMETERS", "IN PASSED", "DROPPED", "OUT PASSED", "DROPPED", "CONNECTIONS")
	for _, p := range ports {
		add(orDash(learnedText(&p)), p.Name, p.State, p.Filter, p.MAC, orDash(parametersText(p.Parameters)),
			fmt.Sprint(p.In.Passed.Packets), fmt.Sprint(p.In.Dropped.Packets),
			fmt.Sprint(p.Out.Passed.Packets), fmt.Sprint(p.Out.Dropped.Packets), fmt.Sprint(p.Connections))
	}
	rows.flush(t.stdout, "")
	for _, p := range ports {
		if p.Fault != "" {
			fmt.Fprintf(t.stderr, "note: port %s: %s\n", p.Name, p.Fault)
		}
		for _, s := range p.Sets {
			if s.Fault != "" {
				fmt.Fprintf(t.stderr, "note: port %s: %s\n", p.Name, s.Fault)
			}
		}
	}
}

// learnedText are the learned addresses of a port, and what it waits for; "" if it
// has none to learn.
func learnedText(p *client.Port) string {
	parts := slices.Clone(p.Addresses)
	if l := p.Learning; l != nil {
		for _, variable := range l.Waiting {
			parts = append(parts, "no "+variable+" yet")
		}
		if l.Offered {
			parts = append(parts, "offered only")
		}
	}
	return strings.Join(parts, ", ")
}

func parametersText(params map[string][]string) string {
	var parts []string
	for name, values := range params {
		parts = append(parts, name+"="+strings.Join(values, ","))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
