package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/datapath"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// notGuarded is the state of a port whose binding is stored and not in force,
// as after a restart of the host.
const notGuarded datapath.State = "not guarded"

func newListCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the bound ports",
		Long: `Lists the bound ports: whether they are guarded, by what filter, for which guest, and
how many packets were passed and dropped in each direction.

A port in any other state than "guarded" needs a look: "tapgate bind PORT" binds it
again.

Needs root.`,
		Example: "  tapgate list\n  tapgate list --json | jq -r '.[] | select(.state != \"guarded\") | .name'",
		Args:    arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := t.openHost(t.bpffs)
			if err != nil {
				return err
			}
			var faults []error
			ports := []datapath.Port{}
			err = t.store().View(c.Context(), func(v *store.View) error {
				guarded, err := h.Ports(c.Context())
				if err != nil {
					return err
				}
				bindings, unreadable, err := v.Bindings()
				faults = unreadable
				ports = append(ports, withStored(guarded, bindings)...)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				shown := []portShown{}
				for i := range ports {
					shown = append(shown, showPort(&ports[i]))
				}
				err = t.printJSON(shown)
			} else {
				t.printPorts(ports)
			}
			if err != nil {
				return err
			}
			return t.report(faults)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

// withStored adds the ports whose bindings are stored and not in force.
func withStored(ports []datapath.Port, bindings []*binding.Binding) []datapath.Port {
	for _, b := range bindings {
		if slices.ContainsFunc(ports, func(p datapath.Port) bool { return p.Name == b.Port }) {
			continue
		}
		p := datapath.Port{Name: b.Port, State: notGuarded, Filter: b.Filter, MAC: b.MAC.String(), Parameters: map[string][]string{}}
		for _, param := range b.Parameters {
			p.Parameters[param.Name] = append(p.Parameters[param.Name], param.Value)
		}
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b datapath.Port) int { return strings.Compare(a.Name, b.Name) })
	return ports
}

func (t *tool) printPorts(ports []datapath.Port) {
	if len(ports) == 0 {
		fmt.Fprintln(t.stdout, "no port is bound; \"tapgate bind --help\" shows how")
		return
	}
	rows := &table{}
	rows.add("PORT", "STATE", "FILTER", "MAC", "PARAMETERS", "IN PASSED", "DROPPED", "OUT PASSED", "DROPPED", "CONNECTIONS")
	for _, p := range ports {
		rows.add(p.Name, string(p.State), p.Filter, p.MAC, orDash(parametersText(p.Parameters)),
			fmt.Sprint(p.In.Passed.Packets), fmt.Sprint(p.In.Dropped.Packets),
			fmt.Sprint(p.Out.Passed.Packets), fmt.Sprint(p.Out.Dropped.Packets), fmt.Sprint(p.Connections))
	}
	rows.flush(t.stdout, "")
	for _, p := range ports {
		for _, s := range p.Sets {
			if s.Fault != "" {
				fmt.Fprintf(t.stderr, "note: port %s: %s\n", p.Name, s.Fault)
			}
		}
	}
}

func parametersText(params map[string][]string) string {
	var parts []string
	for name, values := range params {
		parts = append(parts, name+"="+strings.Join(values, ","))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
