package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath"
)

// expectationShown is what a helper waits for, for programs.
type expectationShown struct {
	Protocol string `json:"protocol"`
	// From is who may open the connection; "" is anyone.
	From       string        `json:"from,omitempty"`
	To         endShown      `json:"to"`
	Timeout    float64       `json:"timeout_seconds"`
	ExpectedBy *controlShown `json:"expected_by"`
}

// listExpectations lists what helpers wait for, the newest first.
func (t *tool) listExpectations(c *cobra.Command, h host, port string, filter *connectionFilter, asJSON bool) error {
	var list []*datapath.Expectation
	for e, err := range h.Expectations(c.Context(), port) {
		if err != nil {
			return err
		}
		if filter.matchesExpected(e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *datapath.Expectation) int {
		return cmp.Or(cmp.Compare(b.Timeout, a.Timeout), a.To.Compare(b.To), a.From.Compare(b.From))
	})
	if asJSON {
		shown := make([]expectationShown, len(list))
		for i, e := range list {
			shown[i] = expectationShown{conntrack.ProtoName(e.Proto), "", showEnd(e.To), seconds(e.Timeout), showControl(e.Control, e.Helper)}
			if e.From.IsValid() {
				shown[i].From = e.From.String()
			}
		}
		return t.printJSON(shown)
	}
	t.printExpectations(list)
	return nil
}

func (t *tool) printExpectations(list []*datapath.Expectation) {
	if len(list) == 0 {
		fmt.Fprintln(t.stdout, "nothing is expected")
		return
	}
	rows := &table{}
	rows.add("PROTO", "FROM", "TO", "TIMEOUT", "EXPECTED BY")
	for _, e := range list {
		from := "anyone"
		if e.From.IsValid() {
			from = e.From.String()
		}
		rows.add(conntrack.ProtoName(e.Proto), from, e.To.String(), e.Timeout.Round(time.Second).String(), controlText(e.Control, e.Helper))
	}
	rows.flush(t.stdout, "")
}
