package client

import (
	"context"
	"time"
)

// Document is a filter's text as its author wrote it.
type Document struct {
	// Source is XML in UTF-8, of at most 4 MiB.
	Source string `json:"source"`
	// File is what positions name as the file; empty if it has none.
	File string `json:"file,omitempty"`
	// Lenient takes what libvirt takes, with warnings.
	Lenient bool `json:"lenient,omitempty"`
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

// FilterList are filters by name.
type FilterList struct {
	Filters []FilterInfo `json:"filters"`
	// Faults tell of stored filters that cannot be read.
	Faults []string `json:"faults,omitempty"`
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
	// Notes are sentences on what a person may want to know, such as what was set
	// aside.
	Notes []string `json:"notes,omitempty"`
	// Revision that was gone back to, and Diff to it.
	Revision *Revision `json:"revision,omitempty"`
	Diff     string    `json:"diff,omitempty"`
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
	// PortSkipped is bound but not guarded, and no daemon runs that would.
	PortSkipped PortResult = "skipped"
	PortFailed  PortResult = "failed"
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

// Version names one text of a document.
type Version struct {
	// Digest is the SHA-256 of the text as it is kept, in hexadecimal; empty if
	// there is no document.
	Digest string `json:"digest,omitempty"`
	// Summary is the text in a few words.
	Summary string `json:"summary,omitempty"`
	// Size is that of the text, in bytes.
	Size int `json:"size,omitempty"`
}

// Revision is a text that a filter had.
type Revision struct {
	Version
	// Since is when the filter got it, zero if that is not known.
	Since time.Time `json:"since,omitzero"`
	// Current is set for the text that the filter has.
	Current bool `json:"current,omitempty"`
	// Kept is set if the text is still there.
	Kept bool `json:"kept,omitempty"`
}

// Filters lists the stored and the built-in filters.
func (c *Client) Filters(ctx context.Context) (*FilterList, error) {
	return ask[FilterList](ctx, c, get("filters"))
}

// Filter is a filter as it is; ErrNotFound if there is none of the name.
func (c *Client) Filter(ctx context.Context, name string) (*Filter, error) {
	return c.FilterRevision(ctx, name, "")
}

// FilterRevision is a filter as it was: revision is the beginning of a digest. With
// "" it is Filter.
func (c *Client) FilterRevision(ctx context.Context, name, revision string) (*Filter, error) {
	return ask[Filter](ctx, c, get("filters", name).with("revision", revision))
}

// Revisions are the texts that a filter had, the newest first.
func (c *Client) Revisions(ctx context.Context, name string) ([]Revision, error) {
	var list struct {
		Revisions []Revision `json:"revisions"`
	}
	err := c.call(ctx, get("filters", name, "revisions"), &list)
	return list.Revisions, err
}

// Define stores a filter and puts it in force on all ports that use it, at once. If
// one of them cannot take it, it fails with ErrRefused, and nothing is changed. A
// dry run tells what would become of the ports and changes nothing.
func (c *Client) Define(ctx context.Context, d Document, dryRun bool) (*FilterChange, error) {
	return ask[FilterChange](ctx, c, post("filters").having("dry_run", dryRun).sending(d))
}

// Undefine removes a stored filter. It fails with ErrInUse if it is in use, unless
// forced.
func (c *Client) Undefine(ctx context.Context, name string, force bool) (*FilterChange, error) {
	return ask[FilterChange](ctx, c, remove("filters", name).having("force", force))
}

// Rollback defines a filter with a text that it had: the one whose digest begins
// with to, or with "" the newest that it does not have.
func (c *Client) Rollback(ctx context.Context, name, to string, dryRun bool) (*FilterChange, error) {
	return ask[FilterChange](ctx, c, post("filters", name, "rollback").with("to", to).having("dry_run", dryRun))
}
