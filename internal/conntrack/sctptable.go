package conntrack

// SCTPState labels an association's state. Rules do not see it.
type SCTPState uint8

// The states, and a result of the transition table that is none.
const (
	NoSCTPState SCTPState = iota
	SCTPClosed            // also after the first INIT
	CookieWait
	CookieEchoed
	SCTPEstablished
	ShutdownSent
	ShutdownReceived
	ShutdownACKSent
	HeartbeatSent
	sctpInvalidState
)

var sctpStateNames = [...]string{
	"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED",
	"SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT",
}

func (s SCTPState) String() string {
	if int(s) < len(sctpStateNames) {
		return sctpStateNames[s]
	}
	return "UNKNOWN"
}

// SCTPStates are the names of the states.
func SCTPStates() []string { return sctpStateNames[SCTPClosed:] }

// sctpChunk is what a chunk means to the table.
type sctpChunk uint8

const (
	chunkOther sctpChunk = iota // moves nothing
	chunkInit
	chunkInitACK
	chunkAbort
	chunkShutdown
	chunkShutdownACK
	chunkError
	chunkCookieEcho
	chunkCookieACK
	chunkShutdownComplete
	chunkHeartbeat
	chunkHeartbeatACK
	chunkData // moves nothing either
)

// sctpChunks is by the chunk type (RFC 9260 section 3.2).
var sctpChunks = [16]sctpChunk{
	0:  chunkData,
	1:  chunkInit,
	2:  chunkInitACK,
	4:  chunkHeartbeat,
	5:  chunkHeartbeatACK,
	6:  chunkAbort,
	7:  chunkShutdown,
	8:  chunkShutdownACK,
	9:  chunkError,
	10: chunkCookieEcho,
	11: chunkCookieACK,
	14: chunkShutdownComplete,
}

// sctpNext is nf_conntrack's transition table: direction, chunk, old state.
var sctpNext = func() (table [2][12][9]SCTPState) {
	const (
		no, cl, cw, ce, es = NoSCTPState, SCTPClosed, CookieWait, CookieEchoed, SCTPEstablished
		ss, sr, sa, hs     = ShutdownSent, ShutdownReceived, ShutdownACKSent, HeartbeatSent
		iv                 = sctpInvalidState
	)
	table[original] = [12][9]SCTPState{
		//                     no  cl  cw  ce  es  ss  sr  sa  hs
		chunkInit:             {cl, cl, cw, ce, es, cl, cl, sa, cw},
		chunkInitACK:          {cl, cl, cw, ce, es, ss, sr, sa, cl},
		chunkAbort:            {cl, cl, cl, cl, cl, cl, cl, cl, cl},
		chunkShutdown:         {cl, cl, cw, ce, ss, ss, sr, sa, cl},
		chunkShutdownACK:      {sa, cl, cw, ce, es, sa, sa, sa, sa},
		chunkError:            {cl, cl, cw, ce, es, ss, sr, sa, cl},
		chunkCookieEcho:       {cl, cl, ce, ce, es, ss, sr, sa, cl},
		chunkCookieACK:        {cl, cl, cw, es, es, ss, sr, sa, cl},
		chunkShutdownComplete: {cl, cl, cw, ce, es, ss, sr, cl, cl},
		chunkHeartbeat:        {hs, cl, cw, ce, es, ss, sr, sa, hs},
		chunkHeartbeatACK:     {cl, cl, cw, ce, es, ss, sr, sa, hs},
	}
	table[reply] = [12][9]SCTPState{
		//                     no  cl  cw  ce  es  ss  sr  sa  hs
		chunkInit:             {iv, cl, cw, ce, es, ss, sr, sa, iv},
		chunkInitACK:          {iv, cw, cw, ce, es, ss, sr, sa, iv},
		chunkAbort:            {iv, cl, cl, cl, cl, cl, cl, cl, iv},
		chunkShutdown:         {iv, cl, cw, ce, sr, ss, sr, sa, iv},
		chunkShutdownACK:      {iv, cl, cw, ce, es, sa, sa, sa, iv},
		chunkError:            {iv, cl, cw, cl, es, ss, sr, sa, iv},
		chunkCookieEcho:       {iv, cl, ce, ce, es, ss, sr, sa, iv},
		chunkCookieACK:        {iv, cl, cw, es, es, ss, sr, sa, iv},
		chunkShutdownComplete: {iv, cl, cw, ce, es, ss, sr, cl, iv},
		chunkHeartbeat:        {iv, cl, cw, ce, es, ss, sr, sa, hs},
		chunkHeartbeatACK:     {iv, cl, cw, ce, es, ss, sr, sa, es},
	}
	return table
}()
