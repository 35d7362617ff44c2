package client

import "context"

// Status is how whoever answers stands.
type Status struct {
	Version  string `json:"version"`
	StateDir string `json:"state_dir"`
	BPFFS    string `json:"bpffs"`
	// Daemon is nil without one.
	Daemon *DaemonStatus `json:"daemon,omitempty"`
}

// DaemonStatus is how a daemon stands.
type DaemonStatus struct {
	PID   int    `json:"pid"`
	Since string `json:"since"` // RFC 3339
	// Ready is set once every known port was looked after.
	Ready bool `json:"ready"`
	// Ports by state.
	Ports map[string]int `json:"ports"`
	// Faults are what needs somebody's attention.
	Faults []string `json:"faults,omitempty"`
	// Start tells what the daemon found and did when it began.
	Start []string `json:"start,omitempty"`
}

// Status tells how the daemon stands.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return ask[Status](ctx, c, get("status"))
}
