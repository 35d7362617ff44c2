package conntrack

// TCPState labels a TCP connection's state. Rules do not see it.
type TCPState uint8

// The states, and two results of the transition table that are none.
const (
	NoTCPState TCPState = iota
	SynSent
	SynReceived
	Established
	FinWait
	CloseWait
	LastACK
	TimeWait
	Close
	SynSent2 // both sides sent a SYN
	ignored
	invalid
)

var tcpStateNames = [...]string{
	"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT",
	"LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
}

func (s TCPState) String() string {
	if int(s) < len(tcpStateNames) {
		return tcpStateNames[s]
	}
	return "UNKNOWN"
}

// TCPStates are the names of the states.
func TCPStates() []string { return tcpStateNames[SynSent:] }

// tcpEvent is what a segment means to the table.
type tcpEvent uint8

const (
	eventNone tcpEvent = iota // flags that no TCP sends
	eventSYN
	eventSYNACK
	eventFIN
	eventACK
	eventRST
)

// TCP flags as on the wire.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
	flagURG = 0x20
)

// eventOf reads the flags; ok is false for sets that no TCP sends. PSH, ECE
// and CWR do not count.
func eventOf(flags uint8) (event tcpEvent, ok bool) {
	switch flags & (flagFIN | flagSYN | flagRST | flagACK | flagURG) {
	case flagSYN, flagSYN | flagURG:
		return eventSYN, true
	case flagSYN | flagACK:
		return eventSYNACK, true
	case flagFIN | flagACK, flagFIN | flagACK | flagURG:
		return eventFIN, true
	case flagACK, flagACK | flagURG:
		return eventACK, true
	case flagRST, flagRST | flagACK:
		return eventRST, true
	}
	return eventNone, false
}

// tcpNext is nf_conntrack's transition table: direction, event, old state. A
// SYN in TIME_WAIT or CLOSE leads to SYN_SENT only if the connection may be
// reopened.
var tcpNext = func() (table [2][6][10]TCPState) {
	const (
		no, ss, sr, es, fw = NoTCPState, SynSent, SynReceived, Established, FinWait
		cw, la, tw, cl, s2 = CloseWait, LastACK, TimeWait, Close, SynSent2
		ig, iv             = ignored, invalid
	)
	table[original] = [6][10]TCPState{
		//           no  ss  sr  es  fw  cw  la  tw  cl  s2
		eventSYN:    {ss, ss, ig, ig, ig, ig, ig, ss, ss, s2},
		eventSYNACK: {iv, iv, sr, iv, iv, iv, iv, iv, iv, sr},
		eventFIN:    {iv, iv, fw, fw, la, la, la, tw, cl, iv},
		eventACK:    {es, iv, es, es, cw, cw, tw, tw, cl, iv},
		eventRST:    {iv, cl, cl, cl, cl, cl, cl, cl, cl, cl},
	}
	table[reply] = [6][10]TCPState{
		//           no  ss  sr  es  fw  cw  la  tw  cl  s2
		eventSYN:    {iv, s2, iv, iv, iv, iv, iv, ss, iv, s2},
		eventSYNACK: {iv, sr, ig, ig, ig, ig, ig, ig, ig, sr},
		eventFIN:    {iv, iv, fw, fw, la, la, la, tw, cl, iv},
		eventACK:    {iv, ig, sr, es, cw, cw, tw, tw, cl, ig},
		eventRST:    {iv, cl, cl, cl, cl, cl, cl, cl, cl, cl},
	}
	return table
}()
