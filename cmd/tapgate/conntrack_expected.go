package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
)

// listExpectations lists what helpers wait for, the newest first.
func (t *tool) listExpectations(c *cobra.Command, ask *client.Client, port string, filter *client.ConnectionFilter, asJSON bool) error {
	list := []*client.Expectation{}
	for e, err := range ask.Expectations(c.Context(), port, *filter) {
		if err != nil {
			return err
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *client.Expectation) int {
		return cmp.Or(cmp.Compare(b.Timeout, a.Timeout), strings.Compare(endText(a.To), endText(b.To)), strings.Compare(a.From, b.From))
	})
	if asJSON {
		return t.printJSON(list)
	}
	t.printExpectations(list)
	return nil
}

func (t *tool) printExpectations(list []*client.Expectation) {
	if len(list) == 0 {
		fmt.Fprintln(t.stdout, "nothing is expected")
		return
	}
	rows := &table{}
	rows.add("PROTO", "FROM", "TO", "TIMEOUT", "EXPECTED BY")
	for _, e := range list {
		rows.add(e.Protocol, cmp.Or(e.From, "anyone"), endText(e.To), wholeSeconds(e.Timeout), controlText(e.ExpectedBy))
	}
	rows.flush(t.stdout, "")
}
