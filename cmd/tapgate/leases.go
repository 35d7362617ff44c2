package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newLeasesCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "leases [PORT]",
		Short: "Show or change the addresses that guests have learned",
		Long: `Shows the addresses that guests have, of all bound ports or of one, where the filter
asks for them ($IP, $IPV6) and the binding does not give them: what each was learned
from, since when it is the guest's, and when it ends.

How addresses are learned is a parameter of the binding, CTRL_IP_LEARNING:

  any   the first IPv4 address that the guest uses or is given, for good; of IPv6 those
        that it takes within the prefixes that routers advertise (the default)
  dhcp  what DHCP and DHCPv6 servers give, for as long as they give it; DHCPSERVER and
        DHCPSERVERV6 name those that are trusted
  none  nothing; an address has who is given one by "tapgate leases add"

SOURCE is "arp", "ipv4", "ipv6" or "nd" for what the guest used, "dhcp-offer" for what
it was offered and has not got yet, "dhcp", "dhcpv6" or "dhcpv6-pd" (a delegated prefix)
for what a server gave, and "operator" for what a person added. A lease that is not in
use has ended, or is of a family that the filter does not ask for.

Leases are kept in the state directory and live as long as the binding; those that a
server gave are there again when the guest is, on whatever port.`,
		Example: `  tapgate leases
  tapgate leases vnet0
  tapgate leases --json | jq -r '.[] | select(.in_use) | "\(.port) \(.address)"'
  tapgate leases add vnet0 10.0.0.5 --for 1h
  tapgate leases pin vnet0 10.0.0.5`,
		Args:              arguments(0, 1, "a port"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			list, err := ask.Leases(c.Context(), portArgument(args))
			if err != nil {
				return err
			}
			if asJSON {
				err = t.printJSON(list.Leases)
			} else {
				t.printLeases(list.Leases, time.Now())
			}
			if err != nil {
				return err
			}
			return t.reportFaults(list.Faults)
		},
	}
	jsonFlag(c, &asJSON)
	c.AddCommand(newLeasesAddCommand(t), newLeasesPinCommand(t, true), newLeasesPinCommand(t, false), newLeasesDeleteCommand(t))
	return c
}

func (t *tool) printLeases(leases []client.Lease, now time.Time) {
	if len(leases) == 0 {
		fmt.Fprintln(t.stdout, "no address is learned; \"tapgate leases --help\" tells how they are")
		return
	}
	rows := &table{}
	rows.add("PORT", "ADDRESS", "SOURCE", "SERVER", "LEARNED", "ENDS", "IN USE")
	for i := range leases {
		l := &leases[i]
		inUse := "no"
		if l.InUse {
			inUse = "yes"
		}
		rows.add(l.Port, l.Address, l.Source, orDash(l.Server), localTime(l.Learned), leaseEnd(l, now), inUse)
	}
	rows.flush(t.stdout, "")
}

// leaseEnd says when a lease ends.
func leaseEnd(l *client.Lease, now time.Time) string {
	switch {
	case l.Pinned:
		return "pinned"
	case l.End.IsZero():
		return "never"
	case !l.End.After(now):
		return "ended"
	}
	return "in " + lengthText(l.End.Sub(now))
}

// lengthText is how long something lasts, rounded up: what is left of an hour is an
// hour.
func lengthText(d time.Duration) string {
	const day = 24 * time.Hour
	round := func(unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }
	switch {
	case d <= 2*time.Minute:
		return fmt.Sprintf("%.0fs", round(time.Second).Seconds())
	case d <= 2*time.Hour:
		return fmt.Sprintf("%.0fm", round(time.Minute).Minutes())
	case d <= 2*day:
		m := int(round(time.Minute).Minutes())
		return fmt.Sprintf("%dh%02dm", m/60, m%60)
	}
	return strconv.Itoa(int(round(day)/day)) + "d"
}
