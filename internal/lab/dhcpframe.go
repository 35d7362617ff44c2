package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// DHCPRequest makes a message of a client as a frame: broadcast, from no address.
func DHCPRequest(mac net.HardwareAddr, messageType dhcpv4.MessageType, modifiers ...dhcpv4.Modifier) []byte {
	all := []dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(messageType), dhcpv4.WithBroadcast(true)}
	message, err := dhcpv4.New(append(all, modifiers...)...)
	must(err)
	none, everybody := netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return UDPFrame(mac, Broadcast, netip.AddrPortFrom(none, DHCPClientPort), netip.AddrPortFrom(everybody, DHCPServerPort), message.ToBytes())
}

// DHCPReply makes a message of a server, or of whoever says that it is one, as a frame for everybody
// on the link.
func DHCPReply(srcMAC net.HardwareAddr, from netip.Addr, client net.HardwareAddr, messageType dhcpv4.MessageType, address netip.Addr, lease time.Duration, modifiers ...dhcpv4.Modifier) []byte {
	all := []dhcpv4.Modifier{
		dhcpv4.WithHwAddr(client), dhcpv4.WithMessageType(messageType), dhcpv4.WithBroadcast(true),
		dhcpv4.WithYourIP(address.AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(from.AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(lease)),
	}
	message, err := dhcpv4.New(append(all, modifiers...)...)
	must(err)
	message.OpCode = dhcpv4.OpcodeBootReply
	everybody := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return UDPFrame(srcMAC, Broadcast, netip.AddrPortFrom(from, DHCPServerPort), netip.AddrPortFrom(everybody, DHCPClientPort), message.ToBytes())
}

// DHCPFlood is a stream of DHCPDISCOVERs, each with a transaction id of its own. They go to the bridge,
// which passes them to nobody, so that what is tried is the guest's port and not everybody's patience.
func DHCPFlood(from *Guest) *Flood {
	const xid = udpPayload + 4
	frame := DHCPRequest(from.MAC, dhcpv4.MessageTypeDiscover, dhcpv4.WithTransactionID(dhcpv4.TransactionID{}))
	copy(frame, bridgeMAC)
	return &Flood{from, frame, func(i uint32, frame []byte) {
		setNumber(frame, xid, uint16(i>>16), udpChecksum)
		setNumber(frame, xid+2, uint16(i), udpChecksum)
	}}
}

// ARPFlood is a stream of claims: each tells of another address that is the guest's. They go to the bridge.
func ARPFlood(from *Guest) *Flood {
	const sender, target = 28, 38
	frame := ARPFrame(from.MAC, bridgeMAC, 1, from.MAC, Spoofed.Addr(), make([]byte, 6), Spoofed.Addr())
	return &Flood{from, frame, func(i uint32, frame []byte) {
		binary.BigEndian.PutUint16(frame[sender+2:], uint16(i))
		binary.BigEndian.PutUint16(frame[target+2:], uint16(i))
	}}
}
