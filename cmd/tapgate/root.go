package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/store"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// tool is what all commands share: where they read and write, and whom they ask.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	stateDir       string
	bpffs          string
	socket         string
	// open opens the datapath where no daemon does, devices lists network devices;
	// nil for the kernel's.
	open    func(bpffs string) (agent.Datapath, error)
	devices func() (map[string]device.Device, error)
	// given tells whether a flag, or the variable in its place, was given.
	given func(flag string) bool
	// asked answers, once it is known who does.
	asked *client.Client
}

func openDatapath(bpffs string) (agent.Datapath, error) {
	h, err := datapath.Open(datapath.Options{Dir: bpffs})
	if err != nil {
		return nil, err
	}
	return agent.Use(h), nil
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFaults ends a command that has said everything.
var errFaults = errors.New("faults were reported")

// run runs one command line.
func (t *tool) run(ctx context.Context, args []string) int {
	root := newRootCommand(t)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		t.complain(err)
		return exitUsage
	case !errors.Is(err, errFaults):
		t.complain(err)
	}
	return exitFailure
}

// complain prints an error, each of its lines marked.
func (t *tool) complain(err error) {
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		fmt.Fprintf(t.stderr, "tapgate: %s\n", strings.TrimRight(line, "\n"))
	}
}

func newRootCommand(t *tool) *cobra.Command {
	root := &cobra.Command{
		Use:   "tapgate",
		Short: "Guard the ports of virtual machines and containers",
		Long: `Tapgate is a firewall for virtual network cards. It reads filters in libvirt's
network filter language, compiles each port's filter to eBPF and enforces it on
the host side of the guest's network card.

Commands ask the daemon if one listens at the socket. Without one they do by
themselves what it would do, once.

A port is that host-side device: vnet0, tap3, the host's end of a veth pair.
Directions are the guest's: "out" is what it sends, "in" is what it receives.`,
		Example: `  tapgate check my-filter.xml                  is it well written?
  tapgate show my-filter.xml --mac 52:54:00:00:00:01 --param IP=10.0.0.5
                                               what does it come down to?
  tapgate explain --filter my-filter.xml --mac 52:54:00:00:00:01 --param IP=10.0.0.5 \
      --dir in 'tcp 10.0.0.9:4000 > 10.0.0.5:22 syn'
                                               what happens to this packet, and why?
  tapgate bind vnet0 --filter my-filter.xml --mac 52:54:00:00:00:01 --param IP=10.0.0.5
                                               guard a port with it
  tapgate stats vnet0                          which rules have been busy?
  tapgate conntrack vnet0                      who is connected, and by which rule?
  tapgate leases                               which addresses have the guests learned?
  tapgate watch vnet0                          what is dropped now, and why?`,
		Args:          onlyCommands,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(t.stdin)
	root.SetOut(t.stdout)
	root.SetErr(t.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%s; %q tells more", flagFault(err), c.CommandPath()+" --help")
	})
	flags := root.PersistentFlags()
	flags.StringVar(&t.socket, "socket", environment("TAPGATE_SOCKET", client.DefaultSocket), "`path` at which the daemon listens (or TAPGATE_SOCKET)")
	flags.StringVar(&t.stateDir, "state-dir", environment("TAPGATE_STATE_DIR", store.DefaultDir), "`directory` of the stored filters and bindings (or TAPGATE_STATE_DIR)")
	flags.StringVar(&t.bpffs, "bpffs", environment("TAPGATE_BPFFS", datapath.DefaultDir), "`directory` on a bpffs where programs are pinned (or TAPGATE_BPFFS)")
	t.given = func(flag string) bool {
		return flags.Changed(flag) || os.Getenv(map[string]string{"state-dir": "TAPGATE_STATE_DIR", "bpffs": "TAPGATE_BPFFS"}[flag]) != ""
	}
	must(root.MarkPersistentFlagFilename("socket"))
	for _, name := range []string{"state-dir", "bpffs"} {
		must(root.MarkPersistentFlagDirname(name))
	}
	root.AddCommand(
		newCheckCommand(t), newLintCommand(t), newFilterCommand(t), newShowCommand(t), newExplainCommand(t), newTestCommand(t),
		newBindCommand(t), newUnbindCommand(t), newListCommand(t), newStatsCommand(t), newConntrackCommand(t), newWatchCommand(t), newTopCommand(t),
		newSetsCommand(t), newLeasesCommand(t), newSettingsCommand(t), newHistoryCommand(t), newDaemonCommand(t), newStatusCommand(t), newDemoCommand(t), newVersionCommand(t),
	)
	root.SetHelpCommand(newHelpCommand(root))
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	must(err)
	completion.Example = "  source <(tapgate completion bash)\n  tapgate completion zsh > \"${fpath[1]}/_tapgate\""
	return root
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// must panics at mistakes that every start of the program would show.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// flagFault makes a sentence of what the flag parser says.
func flagFault(err error) string {
	text, _, _ := strings.Cut(err.Error(), ": strconv.")
	return strings.NewReplacer("unknown flag: ", "there is no flag ", "unknown shorthand flag: ", "there is no flag ").Replace(text)
}

// onlyCommands refuses what is no command below c.
func onlyCommands(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	fault := fmt.Sprintf("there is no command %q", strings.TrimPrefix(c.CommandPath()+" "+args[0], "tapgate "))
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("%s; did you mean %q?", fault, near[0])
	}
	return usagef("%s; %q lists them", fault, c.CommandPath()+" --help")
}

// arguments wants a number of arguments, from least to most (-1: any), named
// as in the usage line.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%q needs %s; %q shows how", c.CommandPath(), what, c.CommandPath()+" --help")
		case most >= 0 && len(args) > most:
			return usagef("%q takes only %s, so %q is too much", c.CommandPath(), what, args[most])
		}
		return nil
	}
}
