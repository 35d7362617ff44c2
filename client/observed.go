package client

// Learning tells how a port's addresses are learned, and how far that is.
type Learning struct {
	// Mode is "any" or "dhcp".
	Mode string `json:"mode"`
	// Wants are the variables whose values are learned, Waiting those of them that
	// have none yet.
	Wants   []string `json:"wants"`
	Waiting []string `json:"waiting,omitempty"`
	// Restricted is set while nothing passes but what teaches, since no address of
	// either family is known.
	Restricted bool `json:"restricted,omitempty"`
	// Offered is set while an address is merely offered to the guest.
	Offered bool `json:"offered,omitempty"`
}

// Observed counts frames of a port that were to be copied to whoever learns the
// guest's addresses.
type Observed struct {
	// In are messages of DHCP, DHCPv6 and neighbour discovery to the guest, Out
	// those from it.
	In  ObservedCounts `json:"in,omitzero"`
	Out ObservedCounts `json:"out,omitzero"`
	// Claims are what the guest sent otherwise, and was dropped.
	Claims ObservedCounts `json:"claims,omitzero"`
}

// ObservedCounts are frames of one kind.
type ObservedCounts struct {
	// Told were copied.
	Told uint64 `json:"told,omitzero"`
	// Limited were not: beyond 10 a second, or 50 at once.
	Limited uint64 `json:"limited,omitzero"`
	// Lost were not, because too many others were still to be read.
	Lost uint64 `json:"lost,omitzero"`
}
