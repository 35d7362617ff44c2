package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/examples"
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// insideVariable is set in the process that measures many ports: the agent works
// on all threads, so that the whole process must be in the ports' namespace.
const insideVariable = "TAPGATE_BENCH_INSIDE"

// measurePorts shows what many ports cost that all use one filter: to bind them,
// to change the filter, to adopt them, and to guard them all as after a restart of
// the host.
func measurePorts(ctx context.Context, out io.Writer, options datapath.Options, ports int) error {
	if os.Getenv(insideVariable) == "" {
		inside := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
		inside.Env = append(os.Environ(), insideVariable+"=1")
		inside.Stdout, inside.Stderr = out, os.Stderr
		inside.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
		return inside.Run()
	}
	names, err := addVeths(ports)
	if err != nil {
		return err
	}
	host, _, unmount, err := openOwn(options)
	if err != nil {
		return err
	}
	defer unmount()
	dir, err := os.MkdirTemp("", "tapgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &many{ctx: ctx, out: out, host: host, names: names, state: filepath.Join(dir, "state")}
	return errors.Join(m.measure(), m.releaseAll())
}

// addVeths makes devices in pairs.
func addVeths(n int) (names []string, err error) {
	for i := 0; i < n; i += 2 {
		name, peer := fmt.Sprintf("vnet%d", i), fmt.Sprintf("vnet%d", i+1)
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}); err != nil {
			return nil, fmt.Errorf("add devices: %w", err)
		}
		names = append(names, name, peer)
	}
	return names[:n], nil
}

// many are ports and who looks after them.
type many struct {
	ctx   context.Context
	out   io.Writer
	host  *datapath.Host
	names []string
	state string
	agent *agent.Agent
}

var bencher = store.Actor{User: "bench"}

func (m *many) measure() error {
	m.newAgent()
	if _, err := m.define(0); err != nil {
		return err
	}
	begin := time.Now()
	for i, name := range m.names {
		b := binding.Binding{Port: name, Filter: "bench", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, byte(i >> 8), byte(i)},
			Parameters: []nwfilter.Parameter{{Name: "IP", Value: fmt.Sprintf("10.0.%d.%d", i>>8, i&255)}}}
		if _, err := m.agent.Bind(m.ctx, bencher, b, nil); err != nil {
			return err
		}
	}
	took := time.Since(begin)
	m.show("bound one after the other", "%.2f s, %.1f ms a port", took.Seconds(), took.Seconds()*1000/float64(len(m.names)))
	for round := range 3 {
		begin = time.Now()
		done, err := m.define(round + 1)
		if err != nil {
			return err
		}
		for _, p := range done.Ports {
			if p.Result != agent.PortUpdated {
				return fmt.Errorf("port %s %s: %s", p.Port, p.Result, p.Detail)
			}
		}
		m.show("their filter changed", "%.2f s for %d ports", time.Since(begin).Seconds(), len(done.Ports))
	}
	begin = time.Now()
	if _, _, err := m.agent.Ports(m.ctx); err != nil {
		return err
	}
	m.show("listed", "%.2f s", time.Since(begin).Seconds())
	if err := m.start("adopted by a new daemon"); err != nil {
		return err
	}
	if err := m.releaseAll(); err != nil {
		return err
	}
	return m.start("guarded by a new daemon, from nothing")
}

// newAgent begins anew, as a new process does.
func (m *many) newAgent() {
	m.agent = agent.New(agent.Options{
		Store: store.New(store.NewFiles(m.state)), Open: func() (agent.Datapath, error) { return agent.Use(m.host), nil },
		Daemon: &agent.DaemonOptions{},
	})
}

// start measures how long a daemon takes to be ready.
func (m *many) start(what string) error {
	m.newAgent()
	ctx, stop := context.WithCancel(m.ctx)
	defer stop()
	begin := time.Now()
	err := m.agent.Run(ctx, func() {
		m.show(what, "%.2f s", time.Since(begin).Seconds())
		stop()
	})
	if faults := m.agent.Status(m.ctx).Daemon.Faults; len(faults) > 0 {
		err = errors.Join(err, errors.New(faults[0]))
	}
	return err
}

// define stores the filter of all ports, with another rule at its end each time.
func (m *many) define(n int) (*agent.FilterChange, error) {
	text := fmt.Sprintf("<filter name='bench'><filterref filter='ftp-states'/><rule action='accept' direction='in'><tcp dstportstart='%d'/></rule></filter>", 2000+n)
	if n == 0 {
		if _, err := m.agent.Define(m.ctx, bencher, agent.Document{Source: string(examples.FTPStates), File: "ftp-states.xml"}, false); err != nil {
			return nil, err
		}
	}
	return m.agent.Define(m.ctx, bencher, agent.Document{Source: text}, false)
}

func (m *many) releaseAll() error {
	for _, name := range m.names {
		var missing *datapath.NotGuardedError
		if err := m.host.Release(m.ctx, name); err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	return nil
}

func (m *many) show(what, format string, values ...any) {
	fmt.Fprintf(m.out, "%-40s "+format+"\n", append([]any{what}, values...)...)
}
