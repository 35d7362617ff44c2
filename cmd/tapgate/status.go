package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tapgate/client"
)

func newStatusCommand(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether the daemon runs, and how it stands",
		Long: `Shows whether a daemon listens at the socket, since when, how many ports are in which
state, what it found when it started, and what needs somebody's attention.

The exit code is 1 if something does.`,
		Example: "  tapgate status\n  tapgate status --json | jq .daemon.ready",
		Args:    arguments(0, 0, "flags"),
		RunE: func(c *cobra.Command, _ []string) error {
			ask, err := t.client(c.Context())
			if err != nil {
				return err
			}
			s, err := ask.Status(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = t.printJSON(s)
			} else {
				t.printStatus(s)
			}
			if err != nil || s.Daemon == nil {
				return err
			}
			return t.reportFaults(s.Daemon.Faults)
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (t *tool) printStatus(s *client.Status) {
	rows := &table{}
	if d := s.Daemon; d != nil {
		state := "ready"
		if !d.Ready {
			state = "starting"
		}
		rows.add("daemon", fmt.Sprintf("%s, process id %d, since %s", state, d.PID, sinceText(d.Since)))
		var ports []string
		for _, state := range slices.Sorted(maps.Keys(d.Ports)) {
			ports = append(ports, fmt.Sprintf("%d %s", d.Ports[state], state))
		}
		rows.add("ports", orDash(strings.Join(ports, ", ")))
	} else {
		rows.add("daemon", "none listens at "+t.socket)
	}
	rows.add("version", s.Version)
	rows.add("state", s.StateDir)
	rows.add("programs", s.BPFFS)
	if s.Daemon != nil {
		for i, line := range s.Daemon.Start {
			rows.add([]string{"start", ""}[min(i, 1)], line)
		}
	}
	rows.flush(t.stdout, "")
}

// sinceText is a time of the daemon in that of this host.
func sinceText(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return localTime(at)
}
