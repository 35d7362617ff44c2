package packet

import "fmt"

// Invalid is why a packet's state is INVALID; 0 for every other state.
type Invalid uint8

// The causes, numbered as enum invalid in packet.h.
const (
	NotInvalid         Invalid = iota
	InvalidHeader              // no transport header, or not all of it
	InvalidLength              // UDP's and UDP-Lite's length field, or no checksum in UDP-Lite
	InvalidTCPFlags            // a set that no host sends
	InvalidTCPOpening          // without a connection: no SYN, nor an ACK where such are picked up
	InvalidTCPState            // the connection's state has no place for it
	InvalidTCPWindow           // beyond what the other end has sent or allowed
	InvalidTCPReset            // a reset with a sequence number that was acknowledged before
	InvalidSCTPChunks          // none, one without an end, or some that no host puts together
	InvalidSCTPOpening         // without an association: nothing that begins one
	InvalidSCTPTag             // not its direction's verification tag
	InvalidSCTPState           // the association's state has no place for a chunk
	InvalidICMPType            // neither query, answer nor error; or ICMP of the other IP version
	InvalidICMPAnswer          // to a query that nobody sent
	InvalidICMPQuote           // an error that quotes no packet of the host it goes to
	InvalidICMPError           // an error about a connection that is not known
	InvalidGRE                 // version 1, and not PPP
	NumInvalid
)

var invalidTexts = [NumInvalid]string{
	NotInvalid:         "not invalid",
	InvalidHeader:      "no complete transport header",
	InvalidLength:      "UDP length or checksum field that cannot be",
	InvalidTCPFlags:    "TCP flags that no host sends together",
	InvalidTCPOpening:  "TCP segment of no known connection",
	InvalidTCPState:    "TCP segment that its connection's state has no place for",
	InvalidTCPWindow:   "TCP segment outside of the window",
	InvalidTCPReset:    "TCP reset with an old sequence number",
	InvalidSCTPChunks:  "SCTP chunks that no host sends together",
	InvalidSCTPOpening: "SCTP packet of no known association",
	InvalidSCTPTag:     "SCTP packet with a wrong verification tag",
	InvalidSCTPState:   "SCTP chunk that its association's state has no place for",
	InvalidICMPType:    "ICMP type that is not tracked",
	InvalidICMPAnswer:  "ICMP answer that nobody asked for",
	InvalidICMPQuote:   "ICMP error that quotes no packet of its receiver",
	InvalidICMPError:   "ICMP error about no known connection",
	InvalidGRE:         "GRE version 1 without PPP",
}

func (i Invalid) String() string {
	if i < NumInvalid {
		return invalidTexts[i]
	}
	return fmt.Sprintf("cause %d", uint8(i))
}
