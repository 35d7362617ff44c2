package agent

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strings"

	"tapgate/internal/datapath"
	"tapgate/internal/learn"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// Document is a filter's text as its author wrote it.
type Document struct {
	Source string `json:"source"`
	// File is what positions name as the file; empty if it has none.
	File    string `json:"file,omitempty"`
	Lenient bool   `json:"lenient,omitempty"`
}

// FilterInfo is a filter in a list.
type FilterInfo struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid,omitempty"`
	Chain   string `json:"chain"`
	BuiltIn bool   `json:"built_in"`
	// Overrides is set for a stored filter in the place of a built-in one.
	Overrides bool   `json:"overrides,omitempty"`
	File      string `json:"file,omitempty"`
}

// Filter is a filter with its text.
type Filter struct {
	FilterInfo
	Source  string `json:"source"`
	Lenient bool   `json:"lenient,omitempty"`
	// XML is the filter as libvirt would print it.
	XML string `json:"xml"`
}

// FilterChange tells what a change of a filter did.
type FilterChange struct {
	Filter string `json:"filter"`
	// What is "defined", "replaced", "unchanged", "undefined" or "rolled back".
	What string `json:"what"`
	// BuiltIn is set if the built-in filter of that name is in its place now.
	BuiltIn bool `json:"built_in,omitempty"`
	// Warnings on the text.
	Warnings []string `json:"warnings,omitempty"`
	// Notes are sentences on what a person may want to know, such as what was set aside.
	Notes []string `json:"notes,omitempty"`
	// Revision that was gone back to, and Diff to it.
	Revision *store.Revision `json:"revision,omitempty"`
	Diff     string          `json:"diff,omitempty"`
	// Ports are those that lead to the filter, with what happened to them.
	Ports []PortChange `json:"ports,omitempty"`
}

// PortResult is what became of a port.
type PortResult string

// The results.
const (
	PortUpdated   PortResult = "updated"
	PortUnchanged PortResult = "unchanged" // it enforces the same already
	PortWaiting   PortResult = "waiting"   // there is no device yet
	PortFailed    PortResult = "failed"
	// PortSkipped is bound but not guarded, and no daemon runs that would.
	PortSkipped PortResult = "skipped"
	// PortPlanned is what a dry run says of a port that would be updated.
	PortPlanned PortResult = "planned"
)

// PortChange is what a change did to a port.
type PortChange struct {
	Port   string     `json:"port"`
	Result PortResult `json:"result"`
	// Detail says why it failed.
	Detail       string   `json:"detail,omitempty"`
	Notes        []string `json:"notes,omitempty"`
	Milliseconds float64  `json:"milliseconds,omitempty"`
}

// Port is a bound or guarded port: how it stands, and how it should.
type Port struct {
	datapath.Port
	In  Totals `json:"in"`
	Out Totals `json:"out"`
	// Settings that are not the default.
	Settings settings.Values `json:"settings,omitempty"`
	// Bound is set if a binding of the port is stored.
	Bound bool `json:"bound"`
	// Default is set if it has none and the default filter guards it.
	Default bool `json:"default,omitempty"`
	// Addresses are the learned ones that are in use, by address; a delegated prefix
	// has its length.
	Addresses []string `json:"addresses,omitempty"`
	// Fault says why the port does not enforce what it should; "" if it does.
	Fault string `json:"fault,omitempty"`
}

// Lease is an address that the guest of a port has.
type Lease struct {
	learn.Lease
	Port string
	// InUse is set if the port's policy has the address: it has not ended, and the
	// filter asks for it.
	InUse bool
}

// LeaseChange is what a change of a lease did.
type LeaseChange struct {
	Port string
	// Lease as it is now, or was before it was deleted.
	Lease Lease
	// What is "added", "replaced", "pinned", "unpinned", "deleted" or "unchanged".
	What string
	// Notes are sentences on what a person may want to know.
	Notes []string
	// PortChange is what became of the port's policy.
	PortChange PortChange
}

// Totals are a direction's packets, with the names of reasons and causes.
type Totals struct {
	Passed  datapath.Counter `json:"passed"`
	Dropped datapath.Counter `json:"dropped"`
	// DroppedFor counts dropped packets by reason.
	DroppedFor map[string]uint64 `json:"dropped_for,omitempty"`
	// InvalidFor counts packets of the state INVALID, passed or dropped, by cause.
	InvalidFor map[string]uint64 `json:"invalid_for,omitempty"`
}

// Stats are a port with its counters.
type Stats struct {
	Port
	Clauses    []datapath.ClauseStats `json:"clauses"`
	Refused    uint64                 `json:"refused"`
	GivenUp    uint64                 `json:"given_up"`
	Expired    uint64                 `json:"expired"`
	Quota      uint32                 `json:"quota"`
	Table      datapath.TableUse      `json:"table"`
	InAnswers  datapath.Answers       `json:"in_answers"`
	OutAnswers datapath.Answers       `json:"out_answers"`
}

// Bound is what a binding did.
type Bound struct {
	Port         string  `json:"port"`
	Filter       string  `json:"filter"`
	MAC          string  `json:"mac"`
	Rules        int     `json:"rules"`
	Milliseconds float64 `json:"milliseconds"`
	// Waiting is set if the device is not there yet.
	Waiting bool `json:"waiting,omitempty"`
	// Definition is set if a filter was stored too.
	Definition *FilterChange `json:"definition,omitempty"`
	datapath.Change
	// Settings in force, all of them.
	Settings settings.Values `json:"settings,omitempty"`
	// Learning is set if the filter needs addresses of the guest that the binding
	// does not give.
	Learning *datapath.Learning `json:"learning,omitempty"`
}

// SettingsChange is what a change of settings did.
type SettingsChange struct {
	// Settings of the host or the port, all of them.
	Settings settings.Values `json:"settings"`
	Ports    []PortChange    `json:"ports"`
	Notes    []string        `json:"notes,omitempty"`
}

// Status is how the agent stands; a command's own has no daemon.
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

// Service is all that can be asked of an agent, whose methods say more. Errors that
// callers tell apart are store.ErrNotFound, *store.InUseError,
// *datapath.NotGuardedError, *datapath.UnsupportedError, datapath.ErrNeedsRoot,
// *device.NotFoundError, nwfilter.Diagnostics and *RefusedError.
type Service interface {
	Status(ctx context.Context) Status

	Filters(ctx context.Context) (list []FilterInfo, faults []error, err error)
	// Filter gives a filter as it is, or one of its revisions if that is not "".
	Filter(ctx context.Context, name, revision string) (*Filter, error)
	Revisions(ctx context.Context, name string) ([]store.Revision, error)
	Define(ctx context.Context, by store.Actor, d Document, dryRun bool) (*FilterChange, error)
	Undefine(ctx context.Context, by store.Actor, name string, force bool) (*FilterChange, error)
	Rollback(ctx context.Context, by store.Actor, name, to string, dryRun bool) (*FilterChange, error)

	Ports(ctx context.Context) (list []Port, faults []error, err error)
	// Bind stores a binding, with the filter own if that is not nil, and puts it in force.
	Bind(ctx context.Context, by store.Actor, b binding.Binding, own *Document) (*Bound, error)
	// BindAgain puts the stored binding of a port in force.
	BindAgain(ctx context.Context, by store.Actor, port string) (*Bound, error)
	Unbind(ctx context.Context, by store.Actor, port string) error
	Bindings(ctx context.Context) (list []*binding.Binding, faults []error, err error)

	Stats(ctx context.Context, port string) (*Stats, error)
	Connections(ctx context.Context, port string) iter.Seq2[*datapath.Connection, error]
	Expectations(ctx context.Context, port string) iter.Seq2[*datapath.Expectation, error]
	Flush(ctx context.Context, port string, match func(*datapath.Connection) bool) (int, error)
	RefreshSets(ctx context.Context, port string) ([]datapath.SetChange, error)
	Watch(ctx context.Context, options datapath.WatchOptions) iter.Seq2[datapath.Notice, error]

	// Leases are the addresses that guests have learned, of one port or of all for
	// "", by port and address. Ended ones are there until they are cleared away.
	Leases(ctx context.Context, port string) (list []Lease, faults []error, err error)
	// AddLease gives the guest of a bound port an address. Of the lease its address
	// and its end count, the zero time for none.
	AddLease(ctx context.Context, by store.Actor, port string, l learn.Lease) (*LeaseChange, error)
	// PinLease makes a lease stay whatever happens, or as long as it would anyway.
	PinLease(ctx context.Context, by store.Actor, port string, address netip.Prefix, pinned bool) (*LeaseChange, error)
	DeleteLease(ctx context.Context, by store.Actor, port string, address netip.Prefix) (*LeaseChange, error)

	// Settings are those in force at a port, or the host's for "".
	Settings(ctx context.Context, port string) (settings.Values, error)
	Set(ctx context.Context, by store.Actor, port string, list []settings.Assignment) (*SettingsChange, error)

	History(ctx context.Context) (entries []store.Entry, faults []error, err error)
}

// RefusedError refuses a change that ports which use a filter cannot take;
// nothing was changed.
type RefusedError struct {
	// What was to be changed: "filter my-filter".
	What  string       `json:"what"`
	Ports []PortChange `json:"ports"`
}

func (e *RefusedError) Error() string {
	lines := []string{fmt.Sprintf("nothing is changed: %s cannot take %s", counted(len(e.Ports), "port"), e.What)}
	for _, p := range e.Ports {
		lines = append(lines, fmt.Sprintf("port %s: %s", p.Port, p.Detail))
	}
	return strings.Join(lines, "\n")
}
