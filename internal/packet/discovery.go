package packet

// Types of neighbour discovery messages (RFC 4861 section 4). They follow one
// another.
const (
	RouterSolicitation = 133 + iota
	RouterAdvertisement
	NeighbourSolicitation
	NeighbourAdvertisement
	Redirect
)

// Options of neighbour discovery that hold a link-layer address (RFC 4861
// section 4.6.1).
const (
	sourceLinkAddress = 1
	targetLinkAddress = 2
)

// maxDiscoveryOptions is how many options of a message are looked at.
const maxDiscoveryOptions = 64

// discoveryHeaders are the lengths of the messages without their options.
var discoveryHeaders = [...]int{8, 16, 24, 24, 40}

// decodeDiscovery reads what an ICMPv6 message says about neighbours: the target
// of solicitation, advertisement and redirect, and the link-layer address in
// an option. What cannot be read is there all the same, as :: and
// 00:00:00:00:00:00, so that it is nobody's: in a message that is too short or a
// fragment, which hosts ignore (RFC 6980), behind options that are broken or too
// many, and where options name several addresses. An address of another
// length than Ethernet's cannot be read either (RFC 2464 section 6).
func (p *Packet) decodeDiscovery(b []byte) {
	if p.Have&HaveIPv6 == 0 || p.ICMPType < RouterSolicitation || p.ICMPType > Redirect {
		return
	}
	readable := p.Fragment == FragmentNone
	header := discoveryHeaders[p.ICMPType-RouterSolicitation]
	if p.ICMPType >= NeighbourSolicitation {
		p.Have |= HaveNDTarget
		if readable && len(b) >= 24 {
			p.NDTarget = u128(b[8:])
		}
	}
	if !readable || len(b) < header || !p.decodeDiscoveryOptions(b[header:]) {
		p.Have |= HaveNDMAC
		p.NDMAC = 0
	}
}

// decodeDiscoveryOptions tells whether the options can be read and name at most one
// link-layer address.
func (p *Packet) decodeDiscoveryOptions(b []byte) bool {
	for range maxDiscoveryOptions {
		if len(b) == 0 {
			return true
		}
		if len(b) < 8 {
			return false
		}
		length := int(b[1]) * 8
		if length == 0 || length > len(b) {
			return false
		}
		if b[0] == sourceLinkAddress || b[0] == targetLinkAddress {
			mac := mac48(b[2:])
			if length != 8 || p.Have&HaveNDMAC != 0 && mac != p.NDMAC {
				return false
			}
			p.Have |= HaveNDMAC
			p.NDMAC = mac
		}
		b = b[length:]
	}
	return len(b) == 0
}
