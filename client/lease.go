package client

import (
	"context"
	"time"
)

// Lease is an address that the guest of a port has.
type Lease struct {
	Port string `json:"port"`
	// Address is one of IPv4 or IPv6, or a delegated IPv6 prefix with its length.
	Address string `json:"address"`
	// Source is what it was learned from: "arp", "ipv4", "ipv6" or "nd" if the guest
	// used it, "dhcp-offer", "dhcp", "dhcpv6" or "dhcpv6-pd" if a server gave it,
	// "operator" if a person did.
	Source string `json:"source"`
	// Server that gave it; "" without one.
	Server string `json:"server,omitempty"`
	// Learned is when the guest got it, Renewed when it was last heard of.
	Learned time.Time `json:"learned"`
	Renewed time.Time `json:"renewed"`
	// End is when it is no more; zero for a lease without an end.
	End time.Time `json:"end,omitzero"`
	// Pinned leases do not end, and nobody takes them back but a person.
	Pinned bool `json:"pinned,omitempty"`
	// InUse is set if the port's policy has the address: it has not ended, and the
	// filter asks for it.
	InUse bool `json:"in_use"`
}

// LeaseList are leases by port and address.
type LeaseList struct {
	Leases []Lease `json:"leases"`
	// Faults tell of what is stored and cannot be read.
	Faults []string `json:"faults,omitempty"`
}

// The kinds of LeaseChange.
const (
	LeaseAdded     = "added"
	LeaseReplaced  = "replaced" // there was another lease of the address
	LeasePinned    = "pinned"
	LeaseUnpinned  = "unpinned"
	LeaseDeleted   = "deleted"
	LeaseUnchanged = "unchanged"
)

// LeaseChange is what a change of a lease did.
type LeaseChange struct {
	Port string `json:"port"`
	// Lease as it is now, or was before it was deleted.
	Lease Lease `json:"lease"`
	// What is one of the constants above.
	What string `json:"what"`
	// Notes are sentences on what a person may want to know.
	Notes []string `json:"notes,omitempty"`
	// Change is what became of the port's policy.
	Change PortChange `json:"change"`
}

// leaseBody is a lease as it is asked for.
type leaseBody struct {
	Address string    `json:"address"`
	End     time.Time `json:"end,omitzero"`
}

// Leases lists the addresses that the guests of all ports have, or that of one port
// does; ErrNotFound if that is not bound. What has ended is listed until it is
// cleared away.
func (c *Client) Leases(ctx context.Context, port string) (*LeaseList, error) {
	if port == "" {
		return ask[LeaseList](ctx, c, get("leases"))
	}
	return ask[LeaseList](ctx, c, get("ports", port, "leases"))
}

// AddLease gives the guest of a port an address, or an IPv6 prefix, until end, or for
// good if that is zero. A lease of the same address is replaced. ErrInvalid if it
// would have no effect: the binding gives addresses itself, or the filter asks for
// none of that family.
func (c *Client) AddLease(ctx context.Context, port, address string, end time.Time) (*LeaseChange, error) {
	return ask[LeaseChange](ctx, c, post("ports", port, "leases").sending(leaseBody{address, end}))
}

// PinLease makes a lease stay whatever happens, or lets it end as it would have.
// ErrNotFound if the port has no such lease.
func (c *Client) PinLease(ctx context.Context, port, address string, pinned bool) (*LeaseChange, error) {
	body := struct {
		Pinned bool `json:"pinned"`
	}{pinned}
	return ask[LeaseChange](ctx, c, patch("ports", port, "leases", address).sending(body))
}

// DeleteLease takes an address away from the guest of a port. ErrNotFound if the port
// has no such lease.
func (c *Client) DeleteLease(ctx context.Context, port, address string) (*LeaseChange, error) {
	return ask[LeaseChange](ctx, c, remove("ports", port, "leases", address))
}
