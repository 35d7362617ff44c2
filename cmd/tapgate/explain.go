package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/internal/compile"
	"tapgate/internal/datapath"
	"tapgate/internal/eval"
	"tapgate/internal/ipset"
	"tapgate/internal/learn"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

func newExplainCommand(t *tool) *cobra.Command {
	var guest guestFlags
	var filter, direction, peer, setFile string
	var lenient, asJSON bool
	c := &cobra.Command{
		Use:   "explain --filter NAME|FILE --dir in|out PACKET…",
		Short: "Explain what a filter does to a packet",
		Long: `Decides packets as a port with the filter would, and prints their way through
chains and rules, the rule that decided, and the state of the connection. Nothing is
sent.

A packet is a whole frame in hexadecimal, or a short text:

  tcp|udp|udplite|sctp A[:PORT] > B[:PORT]   IPv6 with a port: [fd00::1]:80
      for tcp: syn ack fin rst psh urg ece cwr, seq N, ack N, win N
  icmp|icmpv6 A > B [echo-request|echo-reply|type N [code N]] [id N] [seq N]
  icmpv6 A > B router-solicitation|router-advertisement|redirect|
      neighbor-solicitation|neighbor-advertisement [target A] [mac MAC …]
  proto N A > B                              any IP protocol
  arp [request|reply] A[/MAC] > B[/MAC]
  rarp [[request|reply] A[/MAC] > B[/MAC]]   alone: the guest announces itself
  ether TYPE [MAC > MAC]

All take "len N", the bytes of payload, and those over IP "ttl N" and "dscp N".
"MAC > MAC" and "vlan N" may stand in front. MAC addresses left out are the guest's
and the neighbour's.

Several packets, as arguments or separated by ";", follow one another, so that an
answer belongs to the connection that the question opened. "in" or "out" in front of
a packet takes the place of --dir.

Where the filter asks for $IP or $IPV6 and no --param gives it, it is learned as at a
port that is bound, from these packets: the first ones may teach what the next ones
are judged by. That needs --mac.`,
		Example: `  tapgate explain --filter my-filter --mac 52:54:00:00:00:01 --param IP=10.0.0.5 \
      --dir in 'tcp 10.0.0.9:4000 > 10.0.0.5:22 syn'
  tapgate explain --filter my-filter --mac 52:54:00:00:00:01 --param IP=10.0.0.5 \
      'out udp 10.0.0.5:4000 > 10.0.0.1:53; in udp 10.0.0.1:53 > 10.0.0.5:4000'
  tapgate explain --filter clean-traffic --mac 52:54:00:00:00:01 \
      'out arp request 10.0.0.5 > 10.0.0.1; out arp request 10.0.0.6 > 10.0.0.1'`,
		Args:              arguments(1, -1, "a packet"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if filter == "" {
				return usagef("which filter? give it with --filter NAME or --filter FILE")
			}
			ends := frameEnds{guest: placeholderMAC}
			var err error
			if ends.peer, err = net.ParseMAC(peer); err != nil || len(ends.peer) != 6 {
				return usagef("--peer-mac %q is no MAC address: expected six groups such as 52:54:00:00:00:99", peer)
			}
			if mac, err := guest.address(); err != nil {
				return err
			} else if mac != nil {
				ends.guest = mac
			}
			frames, err := parseFrames(args, direction, ends)
			if err != nil {
				return err
			}
			r, err := t.resolver(c.Context())
			if err != nil {
				return err
			}
			name, err := r.find(t, filter, lenient)
			if err != nil {
				return err
			}
			p, learner, err := guest.resolveLearning(r, name)
			if err != nil {
				return err
			}
			if missing := compile.Unsupported(p); len(missing) > 0 {
				return errors.New(strings.Join(missing, "\n"))
			}
			sets, err := t.setsOf(p, setFile)
			if err != nil {
				return err
			}
			values, err := guest.settings(r)
			if err != nil {
				return err
			}
			e := eval.New(p, values.Settings().Conntrack())
			e.UseSets(sets)
			return t.explain(e, learner, frames, asJSON)
		},
	}
	guest.register(c)
	flags := c.Flags()
	flags.StringVar(&filter, "filter", "", "`NAME or FILE` of the filter")
	flags.StringVar(&direction, "dir", "", "direction of the packets: `in` to the guest, out from it")
	flags.StringVar(&peer, "peer-mac", "52:54:00:00:00:99", "MAC `address` of whoever the guest talks to")
	flags.StringVar(&setFile, "ipsets", "", "`file` as \"ipset save\" writes it, with the sets that the filter names, - for the standard input; else the kernel's are read")
	flags.BoolVar(&lenient, "lenient", false, "accept a file that libvirt accepts, with warnings")
	jsonFlag(c, &asJSON)
	must(c.RegisterFlagCompletionFunc("filter", t.completeFilterFlag))
	must(c.MarkFlagFilename("ipsets"))
	must(c.RegisterFlagCompletionFunc("dir", cobra.FixedCompletions([]string{"in", "out"}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("peer-mac", cobra.NoFileCompletions))
	return c
}

// frameEnds are the addresses of the guest and of whom it talks to.
type frameEnds struct{ guest, peer net.HardwareAddr }

// sentFrame is one packet of the command line.
type sentFrame struct {
	text string
	out  bool
	data []byte
}

// parseFrames reads the packets; direction is that of those that name none.
func parseFrames(args []string, direction string, ends frameEnds) ([]sentFrame, error) {
	if direction != "" && direction != "in" && direction != "out" {
		return nil, usagef("--dir is in or out, not %q", direction)
	}
	var frames []sentFrame
	for text := range strings.SplitSeq(strings.Join(args, ";"), ";") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		dir, rest := direction, text
		if first, after, ok := strings.Cut(text, " "); ok && (first == "in" || first == "out") {
			dir, rest = first, after
		}
		if dir == "" {
			return nil, usagef("packet %q: which direction? give --dir in or --dir out, or begin with \"in\" or \"out\"", text)
		}
		f := sentFrame{text: rest, out: dir == "out"}
		macs := packet.Ends{Src: ends.peer, Dst: ends.guest}
		if f.out {
			macs = packet.Ends{Src: ends.guest, Dst: ends.peer}
		}
		var err error
		if f.data, err = packet.FromText(rest, macs); err != nil {
			return nil, usagef("packet %q: %w", text, err)
		}
		frames = append(frames, f)
	}
	if len(frames) == 0 {
		return nil, usagef("there is no packet")
	}
	return frames, nil
}

// between passes from one packet to the next, in nanoseconds: a quick answer.
const between = 20_000

// setsOf are the sets that a policy names, of the file or of the kernel.
func (t *tool) setsOf(p *policy.Policy, file string) (ipset.Sets, error) {
	if file == "" {
		return datapath.ReadSets(p)
	}
	text, err := t.read(file)
	if err != nil {
		return nil, err
	}
	sets, err := ipset.ParseSave(string(text), fileName(file))
	if err != nil {
		return nil, err
	}
	for _, name := range p.SetNames() {
		if sets[name] == nil {
			return nil, fmt.Errorf("%s does not have the set %q, which the filter names", fileName(file), name)
		}
	}
	return sets, nil
}

// explain explains packets; learner is nil where nothing is to be learned.
func (t *tool) explain(e *eval.Evaluator, learner *eval.Learner, frames []sentFrame, asJSON bool) error {
	e.Trace(true)
	explained := []explanation{}
	for i, f := range frames {
		r, err := decide(e, learner, &f, int64(i+1)*between)
		if err != nil {
			return err
		}
		if asJSON {
			explained = append(explained, explainJSON(&f, &r, addresses(learner)))
			continue
		}
		if i > 0 {
			fmt.Fprintln(t.stdout)
		}
		t.printExplanation(&f, &r)
		if learner != nil {
			t.printLearned(learner)
		}
	}
	if asJSON {
		return t.printJSON(explained)
	}
	return nil
}

func decide(e *eval.Evaluator, learner *eval.Learner, f *sentFrame, now int64) (eval.Result, error) {
	if learner == nil {
		return e.Decide(f.data, f.out, now), nil
	}
	return e.DecideLearning(learner, f.data, f.out, now)
}

// addresses are those that were learned.
func addresses(learner *eval.Learner) []string {
	if learner == nil {
		return nil
	}
	return learn.Texts(learner.Leases())
}
