package conntrack

import "time"

// Timeouts are how long a connection lives after a packet. Their names are
// those of nf_conntrack's sysctls. struct timeouts in the eBPF program has the
// same members in the same order, in nanoseconds.
type Timeouts struct {
	// TCP is by TCPState. There is no sysctl for that of SynSent2.
	TCP [16]time.Duration
	// SCTP is by SCTPState.
	SCTP [16]time.Duration

	TCPMaxRetrans     time.Duration // at most, after maxRetransmissions or with a closed window
	TCPUnacknowledged time.Duration // at most, for data without an ACK, or without any reply
	UDP               time.Duration // until the flow is an answered one older than udpStreamAge
	UDPStream         time.Duration
	UDPLite           time.Duration // until there is an answer
	UDPLiteStream     time.Duration
	GRE               time.Duration // until there is an answer
	GREStream         time.Duration
	ICMP              time.Duration
	ICMPv6            time.Duration
	Generic           time.Duration // all other protocols
}

// DefaultTimeouts are nf_conntrack's.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCP: [16]time.Duration{
			SynSent:     120 * time.Second,
			SynReceived: 60 * time.Second,
			Established: 432000 * time.Second,
			FinWait:     120 * time.Second,
			CloseWait:   60 * time.Second,
			LastACK:     30 * time.Second,
			TimeWait:    120 * time.Second,
			Close:       10 * time.Second,
			SynSent2:    120 * time.Second,
		},
		SCTP: [16]time.Duration{
			SCTPClosed:       10 * time.Second,
			CookieWait:       3 * time.Second,
			CookieEchoed:     3 * time.Second,
			SCTPEstablished:  210 * time.Second,
			ShutdownSent:     3 * time.Second,
			ShutdownReceived: 3 * time.Second,
			ShutdownACKSent:  3 * time.Second,
			HeartbeatSent:    30 * time.Second,
		},
		TCPMaxRetrans:     300 * time.Second,
		TCPUnacknowledged: 300 * time.Second,
		UDP:               30 * time.Second,
		UDPStream:         120 * time.Second,
		UDPLite:           30 * time.Second,
		UDPLiteStream:     120 * time.Second,
		GRE:               30 * time.Second,
		GREStream:         180 * time.Second,
		ICMP:              30 * time.Second,
		ICMPv6:            30 * time.Second,
		Generic:           600 * time.Second,
	}
}

// OrDefault gives the defaults for the zero value.
func (t Timeouts) OrDefault() Timeouts {
	if t == (Timeouts{}) {
		return DefaultTimeouts()
	}
	return t
}

const second = int64(time.Second)

// What cannot be set, in nanoseconds; the eBPF program has the same values.
const (
	udpStreamAge = 2 * second // an answered UDP flow older than this is a stream

	// An entry whose end a refused FIN or RST may bring nearer has at least
	// this left.
	tcpShrinkFloor = 120 * second

	// sweepGrace passes between an entry's end and its removal: long enough
	// that no packet is still working on it.
	sweepGrace = 10 * second
)
