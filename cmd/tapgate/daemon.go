package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tapgate/internal/agent"
	"tapgate/internal/api"
	"tapgate/internal/datapath"
	"tapgate/internal/logging"
	"tapgate/internal/metrics"
	"tapgate/internal/store"
	"tapgate/internal/systemd"
)

// daemonFlags say how the daemon works.
type daemonFlags struct {
	filter   string
	patterns []string
	setDown  bool
	gate     string
	metrics  string
	series   int
	level    string
	format   string
}

func newDaemonCommand(t *tool) *cobra.Command {
	flags := &daemonFlags{}
	c := &cobra.Command{
		Use:   "daemon",
		Short: "Keep all ports as they are wanted",
		Long: `Watches the host's network devices and makes each port enforce its binding: when a
device appears, is renamed, is made anew under its name, or when somebody took a
program off. A binding whose device is not there waits for it. While it runs, the other
commands ask it, over a socket that root and the members of the group "tapgate" may
use, and may be run by them.

Nothing lives in the daemon: what it puts in force is pinned and goes on filtering when
it ends, however it ends. The next one adopts what it finds, connections included, puts
right what an interrupted change left, and says what it found ("tapgate status").

--default-filter guards devices that have no binding and whose names match a pattern,
from the moment they appear: a table of nftables holds them shut until the filter is in
force (Linux 6.17; before that, they are open for the milliseconds until the daemon sees
them). The table stays when the daemon ends, so that what appears meanwhile waits for the
next. Programs nft before 1.1.6 do not understand it, and some of their commands hang:
where there is one, the table is only used with --gate on. Nobody knows such a guest's
address, so the filter must not ask for it.

A port whose filter cannot be put in force keeps what it enforces. If that is nothing
it is shut: it passes nothing. Either is reported; --set-down sets the device down, too.

SIGHUP makes it look at everything at once, which it does every 30 seconds anyway. Units for
systemd are in the directory systemd of the sources. Needs root, or CAP_BPF,
CAP_NET_ADMIN and CAP_PERFMON.`,
		Example: `  tapgate daemon
  tapgate daemon --default-filter drop-all --default-devices 'vnet*,tap*'
  tapgate daemon --metrics 127.0.0.1:9786 --log-format json
  tapgate status`,
		Args: arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := flags.check()
			if err != nil {
				return err
			}
			return t.runDaemon(c.Context(), flags, log)
		},
	}
	c.Flags().StringVar(&flags.filter, "default-filter", "", "`name` of the filter for devices that match and have no binding")
	c.Flags().StringSliceVar(&flags.patterns, "default-devices", []string{"vnet*", "tap*"}, "`patterns` of such devices: a name, or the beginning of names and *")
	c.Flags().StringVar(&flags.gate, "gate", gateAuto, "hold such devices shut until they are seen: `auto|on|off`")
	c.Flags().BoolVar(&flags.setDown, "set-down", false, "set devices down that cannot be guarded")
	c.Flags().StringVar(&flags.metrics, "metrics", "", "serve metrics for Prometheus at this `address`, HOST:PORT or the path of a unix socket")
	c.Flags().IntVar(&flags.series, "metrics-ports", 1000, "most `ports` that have series of their own; the rest is summed up")
	c.Flags().StringVar(&flags.level, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	c.Flags().StringVar(&flags.format, "log-format", "text", "`format` of the log, on the standard error output: text or json")
	must(c.RegisterFlagCompletionFunc("default-filter", t.completeFilterFlag))
	must(c.RegisterFlagCompletionFunc("gate", cobra.FixedCompletions([]string{gateAuto, gateOn, gateOff}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	for _, name := range []string{"default-devices", "metrics", "metrics-ports"} {
		must(c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	return c
}

func (f *daemonFlags) check() (*slog.Logger, error) {
	format, err := logging.ParseFormat(f.format)
	if err != nil {
		return nil, usageError{err}
	}
	level, err := logging.ParseLevel(f.level)
	if err != nil {
		return nil, usageError{err}
	}
	if err := f.checkGate(); err != nil {
		return nil, err
	}
	if f.series < 1 {
		return nil, usagef("--metrics-ports %d: expected 1 or more", f.series)
	}
	return logging.New(os.Stderr, format, level), nil
}

// healthyWithin is how long the daemon's loop may take for a round: the longest
// are those that change every port.
const healthyWithin = time.Minute

// daemon is a running one.
type daemon struct {
	*tool
	flags *daemonFlags
	log   *slog.Logger
	host  *datapath.Host
	agent *agent.Agent
	count *metrics.Events
}

func (t *tool) runDaemon(ctx context.Context, flags *daemonFlags, log *slog.Logger) error {
	d := &daemon{tool: t, flags: flags, log: log, count: metrics.NewEvents()}
	release, err := d.claim()
	if err != nil {
		return err
	}
	defer release()
	options, closeGate, err := d.options(ctx)
	if err != nil {
		return err
	}
	defer closeGate()
	listener, err := d.listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	d.agent = agent.New(agent.Options{
		Store: store.New(store.NewFiles(t.stateDir)), Open: func() (agent.Datapath, error) { return agent.Use(d.host), nil },
		Log: log, Events: d.count, Daemon: options,
		About: agent.Status{Version: buildVersion().Version, StateDir: t.stateDir, BPFFS: t.bpffs},
	})
	return d.run(ctx, listener)
}

// claim makes sure that this daemon is alone. A state directory that cannot be
// written is no reason not to guard ports.
func (d *daemon) claim() (release func(), err error) {
	releaseState, err := store.ClaimDaemon(d.stateDir, d.socket)
	switch {
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOSPC):
		d.log.Error("the state directory cannot be written: ports are guarded, and nothing can be changed", "fault", err)
		releaseState = func() {}
	case err != nil:
		return nil, err
	}
	if d.host, err = datapath.Open(datapath.Options{Dir: d.bpffs}); err != nil {
		releaseState()
		return nil, err
	}
	releaseHost, err := d.host.Claim()
	if err != nil {
		releaseState()
		return nil, err
	}
	return func() { releaseHost(); releaseState() }, nil
}

// listen takes the socket that systemd listens at, or makes one.
func (d *daemon) listen() (net.Listener, error) {
	l, err := systemd.Listener()
	if err != nil || l != nil {
		return l, err
	}
	return api.Listen(d.socket)
}

// run serves until ctx ends, or something fails that it cannot do without.
func (d *daemon) run(ctx context.Context, listener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	server := api.NewServer(d.agent, api.Limits{}, d.log)
	server.Observe = d.count.APIRequest
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error {
		defer d.stop(server)
		return d.agent.Run(ctx, d.ready)
	})
	group.Go(func() error {
		return systemd.Watchdog(ctx, func() bool { return d.agent.Healthy(healthyWithin) })
	})
	group.Go(func() error { return d.askForTime(ctx) })
	group.Go(func() error { return d.serveMetrics(ctx) })
	group.Go(func() error { return d.lookWhenAsked(ctx) })
	return group.Wait()
}

// serveMetrics does so if it is asked for. Ports are guarded whether or not
// anybody can measure that.
func (d *daemon) serveMetrics(ctx context.Context) error {
	if d.flags.metrics == "" {
		return nil
	}
	l, err := metrics.Listen(ctx, d.flags.metrics)
	if err == nil {
		err = metrics.New(metrics.Options{
			Source: d.agent, Events: d.count, MaxPorts: d.flags.series, Log: d.log,
			Version: buildVersion().Version, Revision: buildVersion().Revision,
			Healthy: func() bool { return d.agent.Healthy(healthyWithin) },
		}).Serve(ctx, l)
	}
	if err != nil {
		d.log.Error("metrics are not served", "fault", err)
	}
	return nil
}

// The time that systemd is asked for while ports are guarded at the start, and how
// often.
const (
	moreTime = 45 * time.Second
	askEvery = 15 * time.Second
)

// askForTime asks for more time to become ready, as long as the agent gets on.
func (d *daemon) askForTime(ctx context.Context) error {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if d.agent.Status(ctx).Daemon.Ready {
			return nil
		}
		if d.agent.Healthy(askEvery) {
			d.tellSystemd(systemd.StillStarting(moreTime, d.line()))
		}
	}
}

// lookWhenAsked looks at everything on SIGHUP.
func (d *daemon) lookWhenAsked(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			d.agent.Look()
		}
	}
}

// ready tells that every known port has been looked after.
func (d *daemon) ready() {
	d.tellSystemd(systemd.Ready(d.line()))
	d.log.Info("ready", "ports", d.line(), "socket", d.socket, "state", d.stateDir)
}

// line says in one how ports stand.
func (d *daemon) line() string {
	status := d.agent.Status(context.Background()).Daemon
	parts := []string{plural(status.Ports[string(datapath.Guarded)], "port") + " guarded"}
	for _, state := range []datapath.State{agent.LearningState, agent.Waiting, datapath.Shut} {
		if n := status.Ports[string(state)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if n := len(status.Faults); n > 0 {
		parts = append(parts, plural(n, "fault"))
	}
	return strings.Join(parts, ", ")
}

// stop lets requests end that are at work.
func (d *daemon) stop(server *api.Server) {
	d.tellSystemd(systemd.Stopping("what is in force goes on filtering"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		d.log.Warn("requests were cut off", "fault", err)
	}
	d.log.Info("stopped; what is in force goes on filtering")
}

func (d *daemon) tellSystemd(err error) {
	if err != nil {
		d.log.Warn("cannot tell systemd", "fault", err)
	}
}
