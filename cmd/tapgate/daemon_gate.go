package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"tapgate/internal/agent"
	"tapgate/internal/device"
	"tapgate/internal/gate"
)

// When the gate is used.
const (
	gateAuto = "auto" // unless a program is there that it would make hang
	gateOn   = "on"
	gateOff  = "off"
)

// checkGate refuses patterns that the kernel does not know.
func (f *daemonFlags) checkGate() error {
	if !slices.Contains([]string{gateAuto, gateOn, gateOff}, f.gate) {
		return usagef("--gate %q: expected auto, on or off", f.gate)
	}
	if f.filter == "" {
		return nil
	}
	if len(f.patterns) == 0 {
		return usagef("--default-devices names no device: expected patterns such as vnet*")
	}
	for _, pattern := range f.patterns {
		if err := gate.CheckPattern(pattern); err != nil {
			return usagef("--default-devices: %w", err)
		}
	}
	return nil
}

// options are the agent's. With a default filter, its devices are held shut until
// they are seen.
func (d *daemon) options(ctx context.Context) (o *agent.DaemonOptions, closeGate func(), err error) {
	o = &agent.DaemonOptions{SetDown: d.flags.setDown}
	if d.flags.filter != "" {
		o.Default = &agent.DefaultFilter{Filter: d.flags.filter, Patterns: d.flags.patterns}
	}
	if reason := d.withoutGate(ctx); reason != "" {
		if o.Default != nil {
			d.log.Warn("new devices are open for the milliseconds until they are seen", "because", reason)
		}
		// Nobody would admit anything at a gate that a daemon before left.
		return o, func() {}, gate.Remove()
	}
	devices, err := device.List()
	if err != nil {
		return nil, nil, err
	}
	running := make([]int, 0, len(devices))
	for _, dev := range devices {
		running = append(running, dev.Index)
	}
	g, err := gate.Open(gate.Options{Patterns: d.flags.patterns, Running: running})
	var unsupported *gate.UnsupportedError
	switch {
	case errors.As(err, &unsupported) && d.flags.gate == gateAuto:
		d.log.Warn("new devices are open for the milliseconds until they are seen", "because", err)
		return o, func() {}, nil
	case err != nil:
		return nil, nil, err
	}
	o.Gate = g
	// It stays in force: what appears while no daemon runs is shut.
	return o, func() { _ = g.Close(false) }, nil
}

// withoutGate says why there is to be none; "" if there is.
func (d *daemon) withoutGate(ctx context.Context) string {
	switch {
	case d.flags.filter == "":
		return "there is no default filter"
	case d.flags.gate == gateOff:
		return "--gate off"
	case d.flags.gate == gateOn:
		return ""
	}
	path, err := exec.LookPath("nft")
	if err != nil {
		return ""
	}
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil || !gate.OldNft(string(version)) {
		return ""
	}
	return fmt.Sprintf("%s (%s) would hang at a table that holds them shut; nft 1.1.6 would not, and --gate on takes that", path, strings.TrimSpace(string(version)))
}
