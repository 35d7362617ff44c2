package client

import (
	"context"
	"time"
)

// Position is a place in a document. Line and Column count from 1, Column in bytes;
// Line 0 means unknown.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Origin tells where a rule comes from.
type Origin struct {
	Filter   string   `json:"filter"`
	Position Position `json:"position"`
	// Path are the names of the filters from the top one to Filter.
	Path []string `json:"path,omitempty"`
	// Values are the variables' values in this copy, as NAME=VALUE.
	Values []string `json:"values,omitempty"`
}

// Clause is one concrete copy of a rule, as a port enforces it.
type Clause struct {
	ID int `json:"id"`
	// Name stays while the clause does, whatever else becomes of the filter; "" if
	// nothing is counted by it.
	Name string `json:"name,omitempty"`
	// Direction is "in" or "out", Stage "link" or "network".
	Direction string `json:"direction"`
	Stage     string `json:"stage"`
	Chain     string `json:"chain,omitempty"`
	Text      string `json:"text"`
	Comment   string `json:"comment,omitempty"`
	// Mirrored is set for the copy with source and destination exchanged.
	Mirrored bool   `json:"mirrored,omitempty"`
	Origin   Origin `json:"origin"`
}

// Counter counts packets and their bytes.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Totals are a direction's packets.
type Totals struct {
	Passed  Counter `json:"passed"`
	Dropped Counter `json:"dropped"`
	// DroppedFor counts dropped packets by reason.
	DroppedFor map[string]uint64 `json:"dropped_for,omitempty"`
	// InvalidFor counts packets of the state INVALID, passed or dropped, by cause.
	InvalidFor map[string]uint64 `json:"invalid_for,omitempty"`
}

// SetState is a kernel set as a port knows it.
type SetState struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Family is 4 or 6, 0 for sets of both.
	Family  uint8 `json:"family,omitempty"`
	Members int   `json:"members"`
	// ReadAt is when it was last read, or found to be gone.
	ReadAt time.Time `json:"read_at"`
	// Fault is a sentence on why the set matches nothing; empty if it does.
	Fault string `json:"fault,omitempty"`
}

// States of a port in which nothing is amiss. In any other, Fault says what is.
const (
	// Guarded: the port enforces its filter.
	Guarded = "guarded"
	// LearningState: the port waits for an address of its guest, and lets nothing
	// pass meanwhile but what teaches it.
	LearningState = "learning"
)

// Port is a bound or guarded port: how it stands, and how it should.
type Port struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Device is the name that the guarded device has now, and Ifindex its index;
	// empty if it is gone or in another namespace.
	Device  string `json:"device,omitempty"`
	Ifindex int    `json:"ifindex,omitempty"`
	// Mechanism by which programs are attached: "tcx" or "clsact".
	Mechanism  string              `json:"mechanism,omitempty"`
	Filter     string              `json:"filter"`
	MAC        string              `json:"mac"`
	Parameters map[string][]string `json:"parameters,omitempty"`
	// Settings in force that are not the default.
	Settings []Setting `json:"settings,omitempty"`
	BoundAt  time.Time `json:"bound_at"`
	// Outdated is set if the programs are those of another version of tapgate.
	Outdated bool `json:"outdated,omitempty"`
	// In is what the guest receives, Out what it sends.
	In  Totals `json:"in"`
	Out Totals `json:"out"`
	// Connections that are kept now, and Opened, all that there were.
	Connections uint32 `json:"connections"`
	Opened      uint64 `json:"opened"`
	// Sets are the kernel sets that the filter names, as they were last read.
	Sets []SetState `json:"sets,omitempty"`
	// Learning is set where the guest's addresses are learned.
	Learning *Learning `json:"learning,omitempty"`
	// Observed counts what was copied to whoever learns.
	Observed Observed `json:"observed,omitzero"`
	// Bound is set if a binding of the port is stored.
	Bound bool `json:"bound"`
	// Default is set if it has none and the default filter guards it.
	Default bool `json:"default,omitempty"`
	// Addresses are the learned ones that are in use; a delegated prefix has its
	// length.
	Addresses []string `json:"addresses,omitempty"`
	// Fault says why the port does not enforce what it should; "" if it does.
	Fault string `json:"fault,omitempty"`
}

// PortList are ports by name.
type PortList struct {
	Ports []Port `json:"ports"`
	// Faults tell of stored bindings that cannot be read.
	Faults []string `json:"faults,omitempty"`
}

// ClauseStats are a clause and the packets that it decided, or counted on their way.
type ClauseStats struct {
	Clause
	Counter
}

// TableUse is how many connections the host's table holds, of all ports, and how
// many it has room for.
type TableUse struct {
	Used uint64 `json:"used"`
	Size uint64 `json:"size"`
}

// Answers count the answers to rejected packets.
type Answers struct {
	Sent uint64 `json:"sent"`
	// Suppressed are those that were not sent, since there were too many.
	Suppressed uint64 `json:"suppressed"`
}

// Stats are a port with its counters.
type Stats struct {
	Port
	Clauses []ClauseStats `json:"clauses"`
	// Refused counts connections for which there was no room, GivenUp those that
	// made room for others before their end, Expired those that ended by time.
	Refused uint64 `json:"refused"`
	GivenUp uint64 `json:"given_up"`
	Expired uint64 `json:"expired"`
	// Quota bounds the port's connections.
	Quota uint32 `json:"quota"`
	// Table is how full the table is that all ports share.
	Table TableUse `json:"table"`
	// InAnswers and OutAnswers are those to rejected packets of a direction.
	InAnswers  Answers `json:"in_answers"`
	OutAnswers Answers `json:"out_answers"`
}

// SetChange is what a refresh did to a set of a port.
type SetChange struct {
	Port string `json:"port"`
	SetState
	Added   int `json:"added"`
	Removed int `json:"removed"`
	// Changed is set if members or fault are others than before.
	Changed bool `json:"changed"`
	// Failed says why the set could not be read; it keeps its members.
	Failed string `json:"failed,omitempty"`
}

// Ports lists the bound and the guarded ports.
func (c *Client) Ports(ctx context.Context) (*PortList, error) {
	return ask[PortList](ctx, c, get("ports"))
}

// Stats reads a port's counters; ErrNotGuarded if it is not guarded.
func (c *Client) Stats(ctx context.Context, port string) (*Stats, error) {
	return ask[Stats](ctx, c, get("ports", port, "stats"))
}

// RefreshSets brings the kernel sets of a port up to date, those of all ports for "".
// The changes tell too what was done before a failure.
func (c *Client) RefreshSets(ctx context.Context, port string) ([]SetChange, error) {
	var done struct {
		Changes []SetChange `json:"changes"`
		Error   *Error      `json:"error,omitempty"`
	}
	if err := c.call(ctx, post("sets", "refresh").with("port", port), &done); err != nil {
		return nil, err
	}
	if done.Error != nil {
		return done.Changes, done.Error
	}
	return done.Changes, nil
}
