package conntrack

// How long an entry lives after a packet, in nanoseconds: nf_conntrack's
// defaults. skeleton/conntrack.h has the same values.
const (
	second = int64(1e9)

	udpTimeout        = 30 * second
	udpStreamTimeout  = 120 * second
	udpStreamAge      = 2 * second // an answered UDP flow older than this is a stream
	greTimeout        = 30 * second
	greStreamTimeout  = 180 * second
	icmpTimeout       = 30 * second
	genericTimeout    = 600 * second
	tcpMaxRetransmit  = 300 * second // after maxRetransmissions, or with a closed window
	tcpUnacknowledged = 300 * second // data without an ACK, or no reply at all
	tcpCloseTimeout   = 10 * second

	// An entry whose end a refused FIN or RST may bring nearer has at least
	// this left.
	tcpShrinkFloor = 120 * second

	// sweepGrace passes between an entry's end and its removal: long enough
	// that no packet is still working on it.
	sweepGrace = 10 * second
)

var tcpTimeouts = [...]int64{
	SynSent:     120 * second,
	SynReceived: 60 * second,
	Established: 432000 * second,
	FinWait:     120 * second,
	CloseWait:   60 * second,
	LastACK:     30 * second,
	TimeWait:    120 * second,
	Close:       tcpCloseTimeout,
	SynSent2:    120 * second,
}

var sctpTimeouts = [...]int64{
	SCTPClosed:       10 * second,
	CookieWait:       3 * second,
	CookieEchoed:     3 * second,
	SCTPEstablished:  210 * second,
	ShutdownSent:     3 * second,
	ShutdownReceived: 3 * second,
	ShutdownACKSent:  3 * second,
	HeartbeatSent:    30 * second,
}
