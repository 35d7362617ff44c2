// Package packet decodes an Ethernet frame into the fields that rules may
// name. It mirrors the eBPF program's parser
// (internal/datapath/skeleton/parse.h) member by member: a frame must give the
// same Packet in both, whatever its bytes.
package packet

// Have is a set of groups of fields that a frame has. A condition on a field
// that the frame does not have does not hold, negated or not.
type Have uint32

// The groups, with the bit values of packet.h.
const (
	HaveVLAN Have = 1 << iota
	HaveSTP
	HaveSTPConfig
	HaveARP
	HaveARPSrcMAC
	HaveARPDstMAC
	HaveARPIP
	HaveIPv4
	HaveIPv6
	HaveLinkProto // the protocol behind extension headers and AH
	HaveNetProto  // the protocol behind extension headers, AH itself
	HavePorts
	HaveTCP        // the 20 fixed bytes
	HaveTCPOptions // the whole TCP header
	HaveICMP
	HaveICMPv6
	HaveNDTarget // neighbour discovery that names a target, readable or not
	HaveNDMAC    // a link-layer address in neighbour discovery, or options that cannot be read
)

// Fragment tells what part of an IP datagram a frame carries.
type Fragment uint8

// The parts of a datagram.
const (
	FragmentNone   Fragment = iota // a whole datagram
	FragmentFirst                  // offset 0, more to come
	FragmentLater                  // a later one whose first fragment is known
	FragmentOrphan                 // a later one before the first
	FragmentShort                  // the first one, without its whole transport header
)

// Malformed tells why a frame is dropped before any rule is asked.
type Malformed uint8

// The faults of a frame.
const (
	WellFormed          Malformed = iota
	MalformedIP                   // a header that the IP layer refuses
	ShortFirstFragment            // IPv6 header chain not wholly in the first fragment
	OverlappingFragment           // a later fragment that begins inside the first
	Unreadable                    // header bytes that could not be read
)

// State is a connection state as one bit, so that sets of states are masks.
type State uint8

// The states; untracked packets have StateUntracked and match none of the
// language's four.
const (
	StateNew State = 1 << iota
	StateEstablished
	StateRelated
	StateInvalid
	StateUntracked
)

// Name is the state as the language writes it; "" for none.
func (s State) Name() string {
	switch s {
	case StateNew:
		return "NEW"
	case StateEstablished:
		return "ESTABLISHED"
	case StateRelated:
		return "RELATED"
	case StateInvalid:
		return "INVALID"
	case StateUntracked:
		return "untracked"
	}
	return ""
}

// Direction of a packet within its connection, as one bit; 0 without one.
type Direction uint8

// The directions.
const (
	Original Direction = 1 << iota
	Reply
)

// U128 is a field's value: IPv6 addresses need both halves, everything else
// only Lo.
type U128 struct{ Hi, Lo uint64 }

// Packet is one frame, parsed. Numbers are in host order, MAC addresses 48-bit
// numbers, IPv4 addresses 32-bit numbers in Lo.
type Packet struct {
	SrcMAC, DstMAC                     uint64
	SrcIP, DstIP                       U128
	ARPSrcMAC, ARPDstMAC               uint64
	STPRootAddress, STPSenderAddress   uint64
	TCPOptions                         [4]uint64 // a bit per option kind
	Have                               Have
	ARPSrcIP, ARPDstIP                 uint32
	STPRootCost                        uint32
	EtherType                          uint16 // 0x8100 if tagged; below 0x600 a length
	VLANID, VLANEncap                  uint16
	ARPHwType, ARPProtocol, ARPOpcode  uint16
	SrcPort, DstPort                   uint16
	STPRootPriority, STPSenderPriority uint16
	STPPort, STPAge, STPMaxAge         uint16
	STPHelloTime, STPForwardDelay      uint16
	LinkProto, NetProto                uint8
	DSCP                               uint8
	TCPFlags                           uint8 // as on the wire: FIN = 1 … CWR = 0x80
	ICMPType, ICMPCode                 uint8
	NDTarget                           U128   // ::, if it cannot be read
	NDMAC                              uint64 // 0, if it cannot be read or options name several
	ARPGratuitous                      uint8  // 1: sender IP = target IP
	STPType, STPFlags                  uint8
	State                              State
	Direction                          Direction
	Invalid                            Invalid // why the state is INVALID
	Family                             uint8   // 4, 6; 0: the network stage does not see it
	Fragment                           Fragment
	Malformed                          Malformed
	MoreFragments                      bool
	TCPScale                           uint8 // window scale, at most 14; 0xff: option absent
	TCPSACKPermitted, TCPSACKSeen      bool
	Out                                bool // sent by the guest
	ICMPID                             uint16
	TCPWindow                          uint16
	FragmentOffset                     uint16 // bytes
	UDPLength                          uint16
	FragmentID                         uint32
	FragmentLength                     uint32 // bytes of the datagram's fragmentable part in this frame
	L4Offset                           uint32 // from the start of the frame
	L4Length                           uint32 // bytes of transport header and payload in this frame
	L4Header                           uint32 // bytes of transport header; 0 unknown
	TCPSeq, TCPAck                     uint32
	TCPSACK                            uint32 // the ACK, or the right edge of a block of the first SACK option if one is higher
	Now                                int64  // nanoseconds on the tracker's clock
	Frame                              []byte // the bytes that were decoded
}
