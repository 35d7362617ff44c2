package packet

// Observe is what a port's program copies to whoever learns the guest's addresses.
// The bits are those of OBSERVE_… in maps.h.
type Observe uint8

// What is copied: whole messages in both directions, and, of what the guest sends
// with its own MAC address, packets that were dropped and claim an address.
const (
	// ObserveDHCP is what the guest sends from UDP port 68 to 67, and what it is
	// sent from 67 to 68 with its address in chaddr.
	ObserveDHCP Observe = 1 << iota
	// ObserveDHCPv6 is what the guest sends from UDP port 546 to 547, and what is
	// sent to its MAC address from 547 to 546.
	ObserveDHCPv6
	// ObserveND is what the guest sends of neighbour solicitations and
	// advertisements, and what reaches it of router advertisements, of
	// advertisements to all nodes, and of solicitations from the unspecified
	// address.
	ObserveND
	// ObserveClaim4 are dropped ARP requests and replies whose sender has an IPv4
	// address, and dropped IPv4 packets from an address, in a tag of type 0x8100
	// too.
	ObserveClaim4
	// ObserveClaim6 are dropped IPv6 packets from an address.
	ObserveClaim6
)
