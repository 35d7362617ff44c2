package packet

import "net"

// Observe is what a port's program copies to whoever learns the guest's addresses.
// The bits are those of OBSERVE_… in observe.h.
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

// The classes of what is observed, each with limits of its own.
const (
	// ObservedMessage is a message of DHCP, DHCPv6 or neighbour discovery.
	ObservedMessage = iota
	// ObservedClaim is a dropped packet that claims an address.
	ObservedClaim
)

// allNodes is the Ethernet address of ff02::1 (RFC 2464 section 7).
const allNodes = 0x333300000001

// Observed tells whether a program copies the packet of a frame, if the port's
// limits let it, and of which class it is. mac is the guest's address, passed the
// packet's fate. It mirrors observe.h.
func (p *Packet) Observed(frame []byte, wanted Observe, mac net.HardwareAddr, passed bool) (class int, ok bool) {
	if p.Malformed != WellFormed || len(mac) != 6 {
		return 0, false
	}
	number := mac48(mac)
	switch {
	case p.isMessage(wanted, number):
		return ObservedMessage, p.Family != 4 || p.Out || p.isClient(frame, number)
	case p.isClaim(wanted, number):
		return ObservedClaim, !passed
	}
	return 0, false
}

func (p *Packet) isMessage(wanted Observe, mac uint64) bool {
	if p.Family == 0 || p.Fragment != FragmentNone {
		return false
	}
	own := p.SrcMAC == mac
	switch {
	case p.LinkProto == ProtoUDP && p.Have&HavePorts != 0 && p.Family == 4:
		if p.Out {
			return wanted&ObserveDHCP != 0 && own && p.SrcPort == 68 && p.DstPort == 67
		}
		return wanted&ObserveDHCP != 0 && p.SrcPort == 67 && p.DstPort == 68
	case p.LinkProto == ProtoUDP && p.Have&HavePorts != 0:
		if p.Out {
			return wanted&ObserveDHCPv6 != 0 && own && p.SrcPort == 546 && p.DstPort == 547
		}
		return wanted&ObserveDHCPv6 != 0 && p.DstMAC == mac && p.SrcPort == 547 && p.DstPort == 546
	case wanted&ObserveND == 0 || p.Family != 6 || p.Have&HaveICMPv6 == 0:
		return false
	}
	switch p.ICMPType {
	case 134: // router advertisement
		return !p.Out
	case 135: // neighbour solicitation
		return p.Out && own || !p.Out && p.SrcIP == U128{}
	case 136: // neighbour advertisement
		return p.Out && own || !p.Out && p.DstMAC == allNodes
	}
	return false
}

// isClient tells whether a DHCP message names the client's hardware address
// (chaddr, RFC 2131 section 2).
func (p *Packet) isClient(frame []byte, mac uint64) bool {
	const chaddr = 8 + 28 // behind the UDP header
	return p.L4Length >= chaddr+6 && mac48(frame[p.L4Offset+chaddr:]) == mac
}

func (p *Packet) isClaim(wanted Observe, mac uint64) bool {
	switch {
	case !p.Out || p.SrcMAC != mac:
		return false
	case p.Family == 6:
		return wanted&ObserveClaim6 != 0 && p.SrcIP != U128{}
	case wanted&ObserveClaim4 == 0:
		return false
	case p.Family == 4:
		return p.SrcIP != U128{} && p.FragmentOffset == 0
	case p.EtherType == EtherTypeARP:
		return p.Have&HaveARPIP != 0 && p.ARPSrcIP != 0 && (p.ARPOpcode == 1 || p.ARPOpcode == 2)
	}
	return p.Have&HaveVLAN != 0 && p.VLANEncap == EtherTypeIPv4
}
