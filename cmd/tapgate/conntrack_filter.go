package main

import (
	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/datapath"
)

// registerFilter adds the flags that choose connections.
func registerFilter(c *cobra.Command, f *client.ConnectionFilter) {
	flags := c.Flags()
	flags.StringVar(&f.Proto, "proto", "", "only of this `protocol`: tcp, udp, icmp … or its number")
	flags.StringVar(&f.State, "state", "", "only in this `state`: new, replied, assured, related, or one of TCP's or SCTP's, such as SYN_SENT")
	flags.StringVar(&f.Address, "address", "", "only with an end at this `address`, or in such a network: 10.0.0.0/8")
	flags.Uint16Var(&f.Port, "port", 0, "only with the L4 port `N` at either end")
	flags.StringVar(&f.Direction, "direction", "", "only those that the guest opened (out) or was called by (in), as `in|out`")
	for name, values := range map[string][]string{
		"proto": datapath.ProtocolNames(), "state": datapath.StateNames(), "direction": {"in", "out"}, "address": nil, "port": nil,
	} {
		must(c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
	}
}

// checkFilter finds faults of the flags before anybody is asked.
func checkFilter(f *client.ConnectionFilter) error {
	if _, err := datapath.ConnectionFilter(*f).Choose(); err != nil {
		return usagef("--%w", err)
	}
	return nil
}
