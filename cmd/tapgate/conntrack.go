package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newConntrackCommand(t *tool) *cobra.Command {
	var filter client.ConnectionFilter
	var asJSON, flush, expected bool
	var limit int
	c := &cobra.Command{
		Use:   "conntrack PORT",
		Short: "List or flush the connections of a port",
		Long: `Lists the connections that are tracked for a port, the newest first: who sent the
first packet to whom, the state of TCP and SCTP, whether the guest opened it (out) or
was called (in), how old it is, when it ends if no packet comes (TIMEOUT), the packets
and bytes that the originator has sent (→) and got (←), and the rule that let its first
packet pass.

  new      only the originator has sent anything
  replied  there were packets both ways
  assured  and more: it is no mere attempt

EXPECTED BY is the control connection in which a helper read that the connection would
come: it was RELATED. --expected lists what helpers wait for and has not come yet.

Flags choose connections; several must all hold. With --flush the chosen connections
are forgotten, all of them without other flags: the next packet of each is judged as if
it came out of the blue. What a filter accepts as NEW goes on, from the middle of a TCP
connection too unless the port is strict; what it accepts only as ESTABLISHED or
RELATED ends.

Connections are only tracked where a filter needs their states.

Needs root.`,
		Example: `  tapgate conntrack vnet0 --direction in --port 22
  tapgate conntrack vnet0 --proto tcp --state SYN_SENT --limit 20
  tapgate conntrack vnet0 --address 10.0.0.0/8 --flush
  tapgate conntrack vnet0 --expected
  tapgate conntrack vnet0 --json |      # who has the most connections?
      jq -r 'group_by(.originator.address)[] | "\(length) \(.[0].originator.address)"' | sort -rn`,
		Args:              arguments(1, 1, "a port"),
		ValidArgsFunction: t.completePort,
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkFilter(&filter); err != nil {
				return err
			}
			switch set := c.Flags().Changed; {
			case set("limit") && limit < 1:
				return usagef("--limit %d shows nothing; expected 1 or more", limit)
			case set("limit") && flush:
				return usagef("--limit says how many connections are shown, and --flush shows none")
			case expected && (flush || set("limit") || set("state") || set("direction")):
				return usagef("--expected lists what is no connection yet: it goes with --proto, --address, --port and --json")
			}
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			if expected {
				return t.listExpectations(c, ask, args[0], &filter, asJSON)
			}
			if flush {
				n, err := ask.Flush(c.Context(), args[0], filter)
				if err != nil {
					return err
				}
				return t.printFlushed(args[0], n, asJSON)
			}
			list := []*client.Connection{}
			for connection, err := range ask.Connections(c.Context(), args[0], filter) {
				if err != nil {
					return err
				}
				list = append(list, connection)
			}
			slices.SortFunc(list, newestFirst)
			all := len(list)
			if limit > 0 {
				list = list[:min(all, limit)]
			}
			if asJSON {
				return t.printJSON(list)
			}
			t.printConnections(list, all)
			return nil
		},
	}
	registerFilter(c, &filter)
	c.Flags().IntVar(&limit, "limit", 0, "show only the newest `N`")
	c.Flags().BoolVar(&flush, "flush", false, "forget the chosen connections and print how many they were")
	c.Flags().BoolVar(&expected, "expected", false, "list the connections that helpers wait for")
	jsonFlag(c, &asJSON)
	must(c.RegisterFlagCompletionFunc("limit", cobra.NoFileCompletions))
	return c
}

// newestFirst orders connections; those of the same moment by what they are.
func newestFirst(a, b *client.Connection) int {
	text := func(c *client.Connection) string {
		from, to := endTexts(c)
		return c.Protocol + " " + from + " > " + to
	}
	return cmp.Or(cmp.Compare(a.Age, b.Age), strings.Compare(text(a), text(b)))
}

func (t *tool) printFlushed(port string, n int, asJSON bool) error {
	if asJSON {
		return t.printJSON(map[string]int{"flushed": n})
	}
	fmt.Fprintf(t.stdout, "port %s: %s flushed\n", port, plural(n, "connection"))
	return nil
}
