package api

import (
	"net/netip"
	"time"

	"tapgate/internal/agent"
	"tapgate/internal/learn"
)

// leaseJSON is a lease in JSON, with its address as people write it.
type leaseJSON struct {
	Port    string       `json:"port"`
	Address string       `json:"address"`
	Source  learn.Source `json:"source"`
	Server  string       `json:"server,omitempty"`
	Learned time.Time    `json:"learned"`
	Renewed time.Time    `json:"renewed"`
	End     time.Time    `json:"end,omitzero"`
	Pinned  bool         `json:"pinned,omitempty"`
	InUse   bool         `json:"in_use"`
}

func jsonOfLease(l *agent.Lease) leaseJSON {
	j := leaseJSON{
		Port: l.Port, Address: l.Text(), Source: l.Source, Learned: l.Learned, Renewed: l.Renewed, End: l.End, Pinned: l.Pinned, InUse: l.InUse,
	}
	if l.Server.IsValid() {
		j.Server = l.Server.String()
	}
	return j
}

// leaseChangeJSON is what a change did, in JSON.
type leaseChangeJSON struct {
	Port   string           `json:"port"`
	Lease  leaseJSON        `json:"lease"`
	What   string           `json:"what"`
	Notes  []string         `json:"notes,omitempty"`
	Change agent.PortChange `json:"change"`
}

func jsonOfLeaseChange(c *agent.LeaseChange, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return leaseChangeJSON{c.Port, jsonOfLease(&c.Lease), c.What, c.Notes, c.PortChange}, nil
}

// leases are those of the port that the path names, or of all.
func (c *call) leases() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	leases, faults, err := c.service.Leases(c.r.Context(), port)
	list := make([]leaseJSON, len(leases))
	for i := range leases {
		list[i] = jsonOfLease(&leases[i])
	}
	return struct {
		Leases []leaseJSON `json:"leases"`
		Faults []string    `json:"faults,omitempty"`
	}{list, sentences(faults)}, err
}

// leaseBody is a lease that is asked for.
type leaseBody struct {
	Address string    `json:"address"`
	End     time.Time `json:"end,omitzero"`
}

func (c *call) addLease() (any, error) {
	if err := c.takesQuery(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	var body leaseBody
	if err := c.body(&body, maxBody); err != nil {
		return nil, err
	}
	address, err := agent.ParseAddress(body.Address)
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return jsonOfLeaseChange(c.service.AddLease(c.r.Context(), by, port, learn.Lease{Address: address, End: body.End}))
}

// leaseNamed is the port and the address that the path names.
func (c *call) leaseNamed() (port string, address netip.Prefix, err error) {
	if port, err = c.name("port"); err != nil {
		return "", address, err
	}
	text, err := c.name("address")
	if err != nil {
		return "", address, err
	}
	address, err = agent.ParseAddress(text)
	return port, address, err
}

func (c *call) pinLease() (any, error) {
	if err := c.takesQuery(); err != nil {
		return nil, err
	}
	port, address, err := c.leaseNamed()
	if err != nil {
		return nil, err
	}
	var body struct {
		Pinned *bool `json:"pinned"`
	}
	if err := c.body(&body, maxBody); err != nil {
		return nil, err
	}
	if body.Pinned == nil {
		return nil, invalidf("nothing is changed: \"pinned\" is not there")
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return jsonOfLeaseChange(c.service.PinLease(c.r.Context(), by, port, address, *body.Pinned))
}

func (c *call) deleteLease() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	port, address, err := c.leaseNamed()
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return jsonOfLeaseChange(c.service.DeleteLease(c.r.Context(), by, port, address))
}
