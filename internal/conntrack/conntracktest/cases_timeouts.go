package conntracktest

import (
	"fmt"
	"time"

	"tapgate/internal/conntrack"
)

// lifetime is how long a connection lives that the packets of opening have led
// to a state, as a packet tells that belongs to it or else is something new.
type lifetime struct {
	name, opening string
	packet        string
	known, new    string // its state while the connection lives, and after
	seconds       int
}

// eachTimeout gives every state a time of its own, and bounds that never count.
func eachTimeout() conntrack.Timeouts {
	t := conntrack.Timeouts{TCPMaxRetrans: time.Hour, TCPUnacknowledged: time.Hour,
		UDP: 20 * time.Second, UDPStream: 21 * time.Second, UDPLite: 22 * time.Second, UDPLiteStream: 23 * time.Second,
		GRE: 24 * time.Second, GREStream: 25 * time.Second, ICMP: 26 * time.Second, ICMPv6: 27 * time.Second, Generic: 28 * time.Second}
	for i := range t.TCP {
		t.TCP[i] = time.Duration(100+i) * time.Second
		t.SCTP[i] = time.Duration(200+i) * time.Second
	}
	return t
}

const closing = "3WHS · o:FA EST · r:A EST"

var ownLifetimes = []lifetime{
	{"SYN_SENT", "o:S NEW", "r:SA", "EST", "INV", 101},
	{"SYN_RECV", "o:S NEW · r:SA EST", "o:A", "EST", "NEW", 102},
	{"ESTABLISHED", "3WHS", "r:A", "EST/r", "NEW/o", 103},
	{"FIN_WAIT", "3WHS · o:FA EST", "r:A", "EST/r", "NEW/o", 104},
	{"CLOSE_WAIT", closing, "r:FA", "EST", "INV", 105},
	{"LAST_ACK", closing + " · r:FA EST", "o:A", "EST", "NEW", 106},
	{"TIME_WAIT", closing + " · r:FA EST · o:A EST", "r:A", "EST/r", "NEW/o", 107},
	{"CLOSE", "3WHS · o:R(1001) EST", "o:PA+10", "EST", "NEW", 108},
	{"SYN_SENT2", "o:S NEW · r:S EST · r:S(5000) EST", "o:SA(1000,5001)", "EST", "INV", 109},
	{"SCTP CLOSED", "o:sctp(0,init=7) NEW", "r:sctp(7,init-ack=9)", "EST", "INV", 201},
	{"SCTP COOKIE_WAIT", "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST", "o:sctp(9,cookie-echo)", "EST", "INV", 202},
	{"SCTP COOKIE_ECHOED", "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(9,cookie-echo) EST", "r:sctp(7,cookie-ack)", "EST", "INV", 203},
	{"SCTP ESTABLISHED", "ASSOCIATION", "o:sctp(9,data)", "EST", "INV", 204},
	{"SCTP SHUTDOWN_SENT", "ASSOCIATION · o:sctp(9,shutdown) EST", "o:sctp(9,data)", "EST", "INV", 205},
	{"SCTP SHUTDOWN_RECD", "ASSOCIATION · r:sctp(7,shutdown) EST", "o:sctp(9,data)", "EST", "INV", 206},
	{"SCTP SHUTDOWN_ACK_SENT", "ASSOCIATION · o:sctp(9,shutdown) EST · r:sctp(7,shutdown-ack) EST", "o:sctp(9,data)", "EST", "INV", 207},
	{"SCTP HEARTBEAT_SENT", "o:sctp(9,heartbeat) NEW", "o:sctp(9,data)", "NEW", "INV", 208},
	{"UDP", "o:udp NEW", "r:udp", "EST/r", "NEW/o", 20},
	{"a UDP stream", "o:udp NEW · r:udp EST · +2001ms · o:udp EST", "r:udp", "EST/r", "NEW/o", 21},
	{"UDP-Lite", "o:udplite NEW", "r:udplite", "EST/r", "NEW/o", 22},
	{"a UDP-Lite stream", "o:udplite NEW · r:udplite EST · o:udplite EST", "r:udplite", "EST/r", "NEW/o", 23},
	{"GRE", "o:gre(0,7) NEW", "r:gre(0,7)", "EST/r", "NEW/o", 24},
	{"a GRE stream", "o:gre(0,7) NEW · r:gre(0,7) EST · o:gre(0,7) EST", "r:gre(0,7)", "EST/r", "NEW/o", 25},
	{"ICMP", "o:icmp(8,0,7) NEW", "r:icmp(0,0,7)", "EST", "INV", 26},
	{"ICMPv6", "v6 · o:icmp(128,0,7) NEW", "r:icmp(129,0,7)", "EST", "INV", 27},
	{"other protocols", "o:proto(89) NEW", "r:proto(89)", "EST/r", "NEW/o", 28},
}

// lowBounds lets the two bounds of TCP count everywhere.
func lowBounds() conntrack.Timeouts {
	t := eachTimeout()
	t.TCPMaxRetrans, t.TCPUnacknowledged = 5*time.Second, 8*time.Second
	return t
}

var boundLifetimes = []lifetime{
	{"a SYN tells no window", "o:S NEW", "r:SA", "EST", "INV", 5},
	{"a pick-up that is not within its window", "o:A(1000,5000) NEW", "r:A", "EST/r", "NEW/o", 5},
	{"a pick-up within its window", "o:A(1000,-10) NEW", "r:A", "EST/r", "NEW/o", 8},
	{"data without an ACK", "3WHS · o:PA+10 EST", "r:A", "EST/r", "NEW/o", 8},
	{"data with its ACK", "3WHS · o:PA+10 EST · r:A EST", "r:A", "EST/r", "NEW/o", 103},
	{"a closed window", "3WHS · o:A win=0 EST", "r:A", "EST/r", "NEW/o", 5},
	{"one ACK for the fourth time", "3WHS · r:A EST · r:A EST · r:A EST · r:A EST", "r:A", "EST/r", "NEW/o", 5},
	{"a reset comes before data without an ACK", "3WHS · o:PA+10 EST · o:R(1011) EST [CLOSE]", "o:PA+10", "EST", "NEW", 108},
}

// highRetrans is more than any state's time, so that this bound is not taken
// and the next one is asked.
func highRetrans() conntrack.Timeouts {
	t := lowBounds()
	t.TCPMaxRetrans = time.Hour
	return t
}

var retransLifetimes = []lifetime{
	{"data for the fourth time", "3WHS · o:PA(1001,5001)+10 EST · o:PA(1001,5001)+10 EST · o:PA(1001,5001)+10 EST · o:PA(1001,5001)+10 EST", "r:A", "EST/r", "NEW/o", 8},
	{"a reset that is repeated after an ACK", "3WHS · o:A EST · o:A EST · o:A EST · o:A EST · o:R(1500) EST [ESTABLISHED]", "r:A(5001,1001)", "EST/r", "NEW/o", 108},
}

// withoutSysctl are the lifetimes that nf_conntrack has no setting for.
var withoutSysctl = map[string]string{
	"SYN_SENT2":         "nf_conntrack_tcp_timeout_syn_sent2 does not exist",
	"UDP-Lite":          "the times of UDP-Lite cannot be set",
	"a UDP-Lite stream": "the times of UDP-Lite cannot be set",
}

// timeoutCases hold every time against the moment at which it ends.
func timeoutCases() []Case {
	var cases []Case
	for _, group := range []struct {
		name      string
		timeouts  conntrack.Timeouts
		lifetimes []lifetime
	}{
		{"own time", eachTimeout(), ownLifetimes},
		{"low bounds", lowBounds(), boundLifetimes},
		{"high bound", highRetrans(), retransLifetimes},
	} {
		for _, l := range group.lifetimes {
			add := func(when, script string) {
				cases = append(cases, Case{Name: group.name + ": " + l.name + when, Script: script, Timeouts: group.timeouts, Differs: withoutSysctl[l.name]})
			}
			add(" lives", fmt.Sprintf("%s · +%dms · %s %s", l.opening, l.seconds*1000-1, l.packet, l.known))
			add(" ends", fmt.Sprintf("%s · +%ds · %s %s", l.opening, l.seconds, l.packet, l.new))
		}
	}
	return cases
}
