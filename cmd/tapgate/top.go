package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tapgate/client"
)

// topFlags say what is shown and how often.
type topFlags struct {
	sort     string
	interval time.Duration
	once     bool
	asJSON   bool
}

func newTopCommand(t *tool) *cobra.Command {
	flags := topFlags{}
	c := &cobra.Command{
		Use:   "top",
		Short: "Show which ports are busy",
		Long: `Shows the bound ports, the busiest first: packets that the guest received (IN) and
sent (OUT), packets dropped, and connections opened, each in a second, and the
connections that are open now. On a terminal the table is drawn anew at each
interval, with as many ports as there is room for; elsewhere tables follow one
another.

It goes on until it is ended with Ctrl-C; --once shows one interval. Needs root.`,
		Example: `  tapgate top
  tapgate top --sort drops --interval 5s
  tapgate top --once --json | jq -r '.ports[] | select(.drops > 100) | .port'`,
		Args: arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			return t.top(c.Context(), ask, &flags)
		},
	}
	c.Flags().StringVar(&flags.sort, "sort", "packets", "`column` to sort by: "+strings.Join(topOrders, ", "))
	c.Flags().DurationVar(&flags.interval, "interval", 2*time.Second, "`time` between two looks, such as 500ms or 5s")
	c.Flags().BoolVar(&flags.once, "once", false, "show one interval and end")
	c.Flags().BoolVar(&flags.asJSON, "json", false, "print JSON for programs, one object a line")
	must(c.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(topOrders, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("interval", cobra.NoFileCompletions))
	return c
}

const leastInterval = 100 * time.Millisecond

func (f *topFlags) check() error {
	if f.interval < leastInterval {
		return usagef("--interval %s is too short: expected at least %s", f.interval, leastInterval)
	}
	if topLess[f.sort] == nil {
		return usagef("--sort %q: expected one of %s", f.sort, strings.Join(topOrders, ", "))
	}
	return nil
}

// top looks at the ports until ctx ends.
func (t *tool) top(ctx context.Context, ask *client.Client, flags *topFlags) error {
	before, err := lookAtPorts(ctx, ask)
	if err != nil {
		return err
	}
	s := newScreen(t.stdout)
	ticker := time.NewTicker(flags.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now, err := lookAtPorts(ctx, ask)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		busy := now.since(before)
		busy.sort(flags.sort)
		if flags.asJSON {
			err = t.printLine(busy)
		} else {
			err = s.draw(busy.lines())
		}
		if err != nil || flags.once {
			return err
		}
		before = now
	}
}

// look is how the ports stand at a moment.
type look struct {
	at    time.Time
	ports []client.Port
}

func lookAtPorts(ctx context.Context, ask *client.Client) (look, error) {
	list, err := ask.Ports(ctx)
	if err != nil {
		return look{}, err
	}
	return look{time.Now(), list.Ports}, nil
}

// lines is what is shown: a sum, and a table.
func (a *activity) lines() []string {
	sum := a.sum()
	rows := &table{}
	rows.add("PORT", "FILTER", "IN/s", "OUT/s", "DROPS/s", "CONNECTIONS", "NEW/s", "STATE")
	for _, p := range a.Ports {
		rows.add(p.Port, p.Filter, rateText(p.In), rateText(p.Out), rateText(p.Drops), fmt.Sprint(p.Connections), rateText(p.New), p.State)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s: %s packets/s, %s drops/s, %d connections, %s new/s\n\n", a.Time.Local().Format(time.TimeOnly),
		plural(len(a.Ports), "port"), rateText(sum.In+sum.Out), rateText(sum.Drops), sum.Connections, rateText(sum.New))
	rows.flush(&b, "")
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// rateText has a decimal where it matters.
func rateText(rate float64) string {
	if rate > 0 && rate < 10 {
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}
