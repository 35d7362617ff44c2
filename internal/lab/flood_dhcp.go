package lab

import "net/netip"

// DHCPMessage is a DHCP message (RFC 2131 section 2) as it stands behind a UDP
// header: the fixed part with the client's hardware address, the magic cookie, a
// message type (option 53) and the end.
func DHCPMessage(from *Guest, op, kind byte) []byte {
	message := make([]byte, 240, 300)
	message[0], message[1], message[2] = op, 1, 6
	copy(message[28:], from.MAC)
	copy(message[236:], []byte{99, 130, 83, 99})
	message = append(message, 53, 1, kind, 255)
	return append(message, make([]byte, 300-len(message))...) // the least that BOOTP sends
}

// DHCPDiscovers are requests for an address, each of an exchange of its own.
func DHCPDiscovers(from *Guest) *Flood {
	const discover, xid = 1, 42 + 4
	frame := UDPFrame(from.MAC, Broadcast, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"),
		DHCPMessage(from, 1, discover))
	return &Flood{from, frame, func(i uint32, frame []byte) {
		setNumber(frame, xid, uint16(i>>16), udpChecksum)
		setNumber(frame, xid+2, uint16(i), udpChecksum)
	}}
}
