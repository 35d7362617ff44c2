package learn

import (
	"net/netip"
	"time"
)

// Source is what a lease was learned from.
type Source string

// The sources.
const (
	// ARP, IPv4 and IPv6 are claims: the guest used the address.
	ARP  Source = "arp"
	IPv4 Source = "ipv4"
	IPv6 Source = "ipv6"
	// ND is a claim by neighbour discovery: the guest looked for duplicates of the
	// address, asked from it or answered for it (RFC 4861, RFC 4862).
	ND Source = "nd"
	// Offer is a DHCPOFFER, to be confirmed by a DHCPACK; only in the mode Any.
	Offer Source = "dhcp-offer"
	// DHCP is a DHCPACK (RFC 2131).
	DHCP Source = "dhcp"
	// DHCPv6 is an address, DHCPv6Prefix a delegated prefix (RFC 8415).
	DHCPv6       Source = "dhcpv6"
	DHCPv6Prefix Source = "dhcpv6-pd"
	// Operator is a person.
	Operator Source = "operator"
)

// Lease is an address, or a delegated prefix, that a port's guest may use.
type Lease struct {
	// Address is a whole address (of 32 or 128 bits), but for a delegated prefix.
	Address netip.Prefix `json:"address"`
	Source  Source       `json:"source"`
	// Server gave it: the DHCP server's identifier, or the sender of its reply. Not
	// valid without one.
	Server netip.Addr `json:"server,omitzero"`
	// Learned is when the guest got it, Renewed when it was last heard of.
	Learned time.Time `json:"learned"`
	Renewed time.Time `json:"renewed"`
	// End is when it is no more; zero for a lease without an end.
	End time.Time `json:"end,omitzero"`
	// Pinned leases never end and are not taken back but by an operator.
	Pinned bool `json:"pinned,omitempty"`
}

// Ended tells whether the lease is no more.
func (l *Lease) Ended(now time.Time) bool {
	return !l.Pinned && !l.End.IsZero() && !now.Before(l.End)
}

// Is4 tells whether it is of IPv4.
func (l *Lease) Is4() bool { return l.Address.Addr().Is4() }

// Text is the address; a delegated prefix with its length.
func (l *Lease) Text() string {
	if l.Address.IsSingleIP() {
		return l.Address.Addr().String()
	}
	return l.Address.String()
}

// Texts are the leases' addresses.
func Texts(leases []Lease) []string {
	texts := []string{}
	for i := range leases {
		texts = append(texts, leases[i].Text())
	}
	return texts
}
