package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tapgate/client"
	"tapgate/internal/capture"
	"tapgate/internal/datapath"
	"tapgate/internal/verdict"
)

// watchFlags say what is watched and how it is shown.
type watchFlags struct {
	client.WatchOptions
	count   int
	asJSON  bool
	verbose bool
	file    string
}

func newWatchCommand(t *tool) *cobra.Command {
	flags := watchFlags{}
	c := &cobra.Command{
		Use:   "watch [PORT…]",
		Short: "Show packets as ports drop or pass them, and why",
		Long: `Shows each packet that is dropped, as it is dropped: when, by which port, in which
direction, what packet, and why: the rule with its filter, file and line, or the
reason that is no rule. --passes shows those that pass too. Without a PORT all
ports are watched, also those that are bound later.

Packets are told in the words that "tapgate explain" takes. MAC addresses are
shown if the guest's is not its own; --verbose always shows them, and TCP's
sequence numbers.

A port shows 100 packets a second, drops and passes each by themselves; --rate
sets another bound. What is beyond is counted and told each second, so that a
flood on one port hides nothing of another. A port that nobody watches does no
work for it. Up to 8 may watch at once.

--write writes the packets, their first 256 bytes each, to a file for Wireshark,
with the reason as the packet's comment; "-" is the standard output.

It goes on until it is ended with Ctrl-C or has shown --count packets. Needs root.`,
		Example: `  tapgate watch
  tapgate watch vnet0 vnet1 --passes --count 20
  tapgate watch --json | jq -r 'select(.rule) | .rule.origin.position.file'
  tapgate watch vnet0 --write drops.pcapng
  tapgate watch --write - | wireshark -k -i -`,
		ValidArgsFunction: t.completePorts,
		RunE: func(c *cobra.Command, args []string) error {
			flags.Ports = args
			if err := flags.check(); err != nil {
				return err
			}
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			return t.watch(c.Context(), ask, &flags)
		},
	}
	c.Flags().BoolVar(&flags.Drops, "drops", true, "show packets that are dropped or rejected; --drops=false leaves them out")
	c.Flags().BoolVar(&flags.Passes, "passes", false, "show packets that pass")
	c.Flags().IntVar(&flags.Rate, "rate", datapath.DefaultWatchRate, "most `packets` of a port to show in a second")
	c.Flags().IntVar(&flags.count, "count", 0, "end after so many `packets`")
	c.Flags().BoolVarP(&flags.verbose, "verbose", "v", false, "show MAC addresses and sequence numbers")
	c.Flags().StringVar(&flags.file, "write", "", "write the packets to this `file` too (pcapng), - for the standard output")
	c.Flags().BoolVar(&flags.asJSON, "json", false, "print JSON for programs, one object a line")
	for _, name := range []string{"rate", "count"} {
		must(c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	must(c.MarkFlagFilename("write", "pcapng"))
	return c
}

func (f *watchFlags) check() error {
	switch {
	case !f.Drops && !f.Passes:
		return usagef("--drops=false leaves nothing to show; give --passes too")
	case f.Rate < 1 || f.Rate > datapath.MaxWatchRate:
		return usagef("--rate %d: expected 1 to %d packets a second", f.Rate, datapath.MaxWatchRate)
	case f.count < 0:
		return usagef("--count %d: expected a number of packets", f.count)
	case f.asJSON && f.file == "-":
		return usagef("--json and --write - both want the standard output")
	}
	return nil
}

// watch shows what it is told until ctx ends, or nobody reads it any more: the
// programs are told so then, too.
func (t *tool) watch(ctx context.Context, ask *client.Client, flags *watchFlags) error {
	signal.Ignore(unix.SIGPIPE)
	v := &watchView{tool: t, flags: flags}
	switch err := v.follow(ctx, ask); {
	case errors.Is(err, unix.EPIPE):
		return nil
	case err != nil:
		return err
	}
	return v.finish()
}

// watchView shows notices.
type watchView struct {
	*tool
	flags *watchFlags
	began bool
	// file and capture are nil if packets are not written.
	file    io.WriteCloser
	capture *capture.Writer
	shown   int
	hidden  uint64
	// widest is the longest name of a port so far.
	widest int
}

func (v *watchView) follow(ctx context.Context, ask *client.Client) error {
	for notice, err := range ask.Watch(ctx, v.flags.WatchOptions) {
		if err != nil {
			return err
		}
		if !v.began {
			if err := v.begin(); err != nil {
				return err
			}
			v.began = true
		}
		if err := v.notice(notice); err != nil {
			return err
		}
		if v.flags.count > 0 && v.shown == v.flags.count {
			return nil
		}
	}
	return nil
}

type notClosed struct{ io.Writer }

func (notClosed) Close() error { return nil }

// begin opens the file once it is clear that there is something to watch. What
// is in it is nobody else's business.
func (v *watchView) begin() error {
	var err error
	switch v.flags.file {
	case "":
		return nil
	case "-":
		v.file = notClosed{v.stdout}
	default:
		if v.file, err = os.OpenFile(v.flags.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
	}
	if v.capture, err = capture.New(v.file, "tapgate "+buildVersion().Version, time.Now()); err != nil {
		return v.cannotWrite(err)
	}
	return nil
}

func (v *watchView) notice(n *client.Notice) error {
	switch {
	case n.Report != nil:
		v.shown++
		return v.showPacket(n.Report)
	case n.Hidden != nil:
		return v.hide(n.Hidden)
	case n.Watched != nil:
		v.watched(n.Watched)
	}
	return nil
}

func (v *watchView) showPacket(r *client.Report) error {
	if v.capture != nil {
		err := v.capture.Write(&capture.Packet{
			Time: r.Time, Port: r.Port, Received: r.Received, Passed: r.Verdict == verdict.Pass.String(),
			Frame: r.Frame, Length: r.Length, Comment: r.Verdict + ": " + reportCause(r),
		})
		if err != nil {
			return v.cannotWrite(err)
		}
	}
	var err error
	switch {
	case v.flags.file == "-":
	case v.flags.asJSON:
		err = v.printLine(reportJSON(r))
	default:
		_, err = fmt.Fprintf(v.stdout, "%s  %-*s  %-3s  %-6s  %s — %s\n", r.Time.Local().Format("15:04:05.000000"), v.widest, orDash(r.Port),
			r.Direction, r.Verdict, reportText(r, v.flags.verbose), reportCause(r))
	}
	return err
}

func (v *watchView) hide(h *client.Hidden) error {
	packets := h.Limited + h.Lost
	v.hidden += packets
	if v.capture != nil {
		if err := v.capture.Hide(h.Port, packets); err != nil {
			return v.cannotWrite(err)
		}
	}
	var err error
	switch {
	case v.flags.file == "-":
	case v.flags.asJSON:
		err = v.printLine(client.Notice{Hidden: h})
	default:
		why := fmt.Sprintf("more than %d a second", v.flags.Rate)
		if h.Lost > 0 {
			why = fmt.Sprintf("%d for being more than %d a second, %d for coming faster than they are shown", h.Limited, v.flags.Rate, h.Lost)
		}
		_, err = fmt.Fprintf(v.stdout, "%15s  %-*s  %d more %s and not shown: %s\n", "", v.widest, orDash(h.Port), packets, h.Fate, why)
	}
	return err
}

// watched tells which ports are, beside the packets.
func (v *watchView) watched(w *client.Watched) {
	for _, port := range w.Ports {
		v.widest = max(v.widest, len(port))
	}
	const few = 8
	switch n := len(w.Ports); {
	case n == 0:
		fmt.Fprintln(v.stderr, "no port is bound; waiting for one")
	case n <= few:
		fmt.Fprintf(v.stderr, "watching %s\n", strings.Join(w.Ports, ", "))
	default:
		fmt.Fprintf(v.stderr, "watching %d ports\n", n)
	}
	for _, port := range w.Strange {
		fmt.Fprintf(v.stderr, "note: port %s was bound by another version of tapgate and shows nothing; \"tapgate bind %s\" binds it again\n", port, port)
	}
}

// finish says what there was.
func (v *watchView) finish() error {
	where := ""
	if v.flags.file != "" && v.flags.file != "-" {
		where = ", written to " + v.flags.file
	}
	if v.capture != nil {
		if err := errors.Join(v.capture.Close(time.Now()), v.file.Close()); err != nil {
			return v.cannotWrite(err)
		}
	}
	fmt.Fprintf(v.stderr, "%s shown%s, %d not shown\n", plural(v.shown, "packet"), where, v.hidden)
	return nil
}

func (v *watchView) cannotWrite(err error) error {
	return fmt.Errorf("write %s: %w", v.flags.file, err)
}
