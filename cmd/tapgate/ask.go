package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/api"
	"tapgate/internal/store"
)

// client is whom a command asks: the daemon, if one listens at the socket, or else an
// agent of this process. Both answer the same requests in the same way.
func (t *tool) client(ctx context.Context) (*client.Client, error) {
	if t.asked != nil {
		return t.asked, nil
	}
	daemon := client.New(t.socket)
	switch err := daemon.Ping(ctx); {
	case errors.Is(err, client.ErrNotRunning):
		t.asked = t.alone()
		return t.asked, nil
	case errors.Is(err, client.ErrNoPermission) && (t.given("state-dir") || t.given("bpffs")):
		// If these are the daemon's, their own permissions say no.
		t.asked = t.alone()
		return t.asked, nil
	case errors.Is(err, client.ErrNoPermission):
		return nil, fmt.Errorf("%w; with another --state-dir this command works by itself", err)
	case err != nil:
		return nil, err
	}
	elsewhere, err := t.elsewhere(ctx, daemon)
	switch {
	case err != nil:
		return nil, err
	case elsewhere:
		t.asked = t.alone()
	default:
		t.asked = daemon
	}
	return t.asked, nil
}

// clientToChange is client for a command that changes what is stored. The daemon would
// not hear of what another process changes in its state directory.
func (t *tool) clientToChange(ctx context.Context) (*client.Client, error) {
	c, err := t.client(ctx)
	if err != nil || !c.IsLocal() {
		return c, err
	}
	pid, socket, running, err := store.Daemon(t.stateDir)
	if err != nil || !running {
		return c, err
	}
	return nil, fmt.Errorf("the state directory %s is in the hands of the daemon with process id %d, which listens at %s: give that with --socket", t.stateDir, pid, socket)
}

// elsewhere tells whether the daemon works in other places than those that were
// given.
func (t *tool) elsewhere(ctx context.Context, daemon *client.Client) (bool, error) {
	if !t.given("state-dir") && !t.given("bpffs") {
		return false, nil
	}
	s, err := daemon.Status(ctx)
	if err != nil {
		return false, err
	}
	return t.given("state-dir") && !samePath(t.stateDir, s.StateDir) || t.given("bpffs") && !samePath(t.bpffs, s.BPFFS), nil
}

func samePath(a, b string) bool {
	for _, path := range []*string{&a, &b} {
		if whole, err := filepath.Abs(*path); err == nil {
			*path = whole
		}
		if real, err := filepath.EvalSymlinks(*path); err == nil {
			*path = real
		}
	}
	return a == b
}

// alone asks an agent of this process, which does one thing at a time and looks after
// nothing.
func (t *tool) alone() *client.Client { return api.Local(t.agent(), store.ThisProcess()) }

func (t *tool) agent() *agent.Agent {
	return agent.New(agent.Options{
		Store:   store.New(store.NewFiles(t.stateDir)),
		Open:    func() (agent.Datapath, error) { return t.open(t.bpffs) },
		Devices: t.devices,
		About:   agent.Status{Version: buildVersion().Version, StateDir: t.stateDir, BPFFS: t.bpffs},
	})
}
