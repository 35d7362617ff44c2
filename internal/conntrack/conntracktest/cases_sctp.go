package conntracktest

import "fmt"

// SCTP. ASSOCIATION opens one in which o's packets carry the tag 9 and r's 7.
var sctpCases = []Case{
	{Name: "sctp from opening to end", Script: "o:sctp(0,init=7) NEW/o [CLOSED] · r:sctp(7,init-ack=9) EST/r [COOKIE_WAIT] · o:sctp(9,cookie-echo,data) EST/o [COOKIE_ECHOED] · r:sctp(7,cookie-ack,sack) EST [ESTABLISHED] · o:sctp(8,data) INV · o:sctp(9,data) EST [ESTABLISHED] · o:sctp(9,shutdown) EST [SHUTDOWN_SENT] · r:sctp(7,shutdown-ack) EST [SHUTDOWN_ACK_SENT] · o:sctp(9,shutdown-complete) EST [CLOSED] · o:sctp(0,init=11) EST/o [CLOSED]"},
	{Name: "sctp over IPv6", Script: "v6 · ASSOCIATION · o:sctp(9,data) EST/o · r:sctp(9,data) INV · r:sctp(7,data) EST/r"},
	{Name: "sctp that a rule drops", Script: "o:sctp(0,init=7)! NEW [gone] · r:sctp(7,init-ack=9) INV"},
	{Name: "sctp ends apart from each other", Script: "ASSOCIATION · r:sctp(7,shutdown) EST [SHUTDOWN_RECD] · o:sctp(9,shutdown-ack) EST [SHUTDOWN_ACK_SENT] · r:sctp(7,shutdown-complete) EST [CLOSED]"},
	{Name: "sctp shutdown is repeated", Script: "ASSOCIATION · o:sctp(9,shutdown) EST · o:sctp(9,shutdown) EST [SHUTDOWN_SENT] · o:sctp(9,sack,shutdown) EST [SHUTDOWN_SENT]"},

	{Name: "sctp first: init with a tag", Script: "o:sctp(1,init=7) INV"},
	{Name: "sctp first: heartbeat, answered", Script: "o:sctp(9,heartbeat) NEW/o [HEARTBEAT_SENT] · r:sctp(7,heartbeat-ack) EST/r [ESTABLISHED] · o:sctp(9,data) EST/o · r:sctp(7,data) EST/r · r:sctp(9,data) INV"},
	{Name: "sctp first: heartbeat, then data from the peer", Script: "o:sctp(9,heartbeat) NEW · r:sctp(7,data) INV · o:sctp(9,data) NEW [HEARTBEAT_SENT]"},
	{Name: "sctp first: heartbeat, answered by what opens nothing", Script: "o:sctp(9,heartbeat) NEW · r:sctp(0,init=7) INV · r:sctp(0,shutdown) INV · r:sctp(7,shutdown-ack) INV · r:sctp(0,abort) INV · r:sctp(7,heartbeat) EST [HEARTBEAT_SENT]"},
	{Name: "sctp first: heartbeat and data", Script: "o:sctp(9,heartbeat,data) INV"},
	{Name: "sctp first: heartbeats of both kinds", Script: "o:sctp(9,heartbeat,heartbeat-ack) NEW [HEARTBEAT_SENT] · r:sctp(9,data) INV · r:sctp(9,heartbeat) EST"},
	{Name: "sctp first: cookie-echo behind which a heartbeat shows the tag", Script: "o:sctp(9,cookie-echo,heartbeat) NEW [CLOSED]"},
	{Name: "sctp first: shutdown-ack", Script: "o:sctp(9,shutdown-ack) NEW [SHUTDOWN_ACK_SENT] · r:sctp(9,shutdown-complete=T) INV · r:sctp(9,shutdown-complete) EST [CLOSED]"},
	{Name: "sctp first: heartbeat-ack", Script: "o:sctp(9,heartbeat-ack) NEW [CLOSED] · o:sctp(9,data) NEW · r:sctp(9,data) INV · r:sctp(0,data) EST"},
	{Name: "sctp first: init-ack, cookie-echo, error, shutdown with the tag 0", Script: "o:sctp(0,init-ack=7) NEW [CLOSED] · r:sctp(7,sack) EST"},

	{Name: "sctp init behind something", Script: "o:sctp(0,data,init=7) INV"},
	{Name: "sctp init before something", Script: "o:sctp(0,init=7,data) INV · o:sctp(0,init=7,init=7) INV"},
	{Name: "sctp chunks that must be alone", Script: "ASSOCIATION · o:sctp(9,shutdown) EST · r:sctp(7,sack,shutdown-ack) EST · o:sctp(9,shutdown-complete,sack) INV · o:sctp(9,sack,shutdown-complete) INV · r:sctp(7,init-ack=9,sack) INV [SHUTDOWN_ACK_SENT]"},
	{Name: "sctp chunks that must be first", Script: "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(9,data,cookie-echo) INV · o:sctp(9,cookie-echo) EST · r:sctp(7,sack,cookie-ack) INV [COOKIE_ECHOED]"},
	{Name: "sctp without chunks", Script: "o:sctp(0) INV"},
	{Name: "sctp with less than a chunk", Script: "ASSOCIATION · o:sctp(9,sack) cut=15 INV · o:sctp(9,sack,sack) cut=19 EST"},
	{Name: "sctp chunk of no length", Script: "o:sctp(9,zero) INV · o:sctp(9,heartbeat,zero) INV"},
	{Name: "sctp chunk longer than the packet", Script: "ASSOCIATION · o:sctp(9,data) cut=17 EST"},
	{Name: "sctp init that is cut", Script: "o:sctp(0,init=7) cut=31 INV · o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) cut=31 INV"},
	{Name: "sctp header that is cut", Script: "o:sctp(9,heartbeat) cut=11 INV · o:sctp(9,heartbeat) cut=3 INV"},
	{Name: "sctp first fragment", Script: "ASSOCIATION · o:sctp(9,data,abort) cut=32 more EST [ESTABLISHED] · o:sctp(8,data) cut=24 more INV", Differs: "nf_conntrack sees whole datagrams"},
	{Name: "sctp with many chunks", Script: "ASSOCIATION · o:sctp(9,300×sack) EST · o:sctp(9,100×data) EST · o:sctp(9,300×sack,zero) INV"},
	{Name: "sctp with too many chunks that matter", Script: "ASSOCIATION · o:sctp(9,8×error,20×sack) EST · o:sctp(9,9×error) INV", Differs: "nf_conntrack follows any number"},

	{Name: "sctp tags of abort", Script: "ASSOCIATION · o:sctp(7,abort) INV · o:sctp(9,abort=T) INV · o:sctp(9,abort) EST [CLOSED]"},
	{Name: "sctp abort with the peer's tag", Script: "ASSOCIATION · o:sctp(7,abort=T) EST [CLOSED]"},
	{Name: "sctp abort of the opening", Script: "o:sctp(0,init=7) NEW · r:sctp(0,abort) INV · r:sctp(7,abort) EST [CLOSED]"},
	{Name: "sctp abort by who does not know the tag", Script: "o:sctp(0,init=7) NEW · o:sctp(7,abort=T) NEW [CLOSED]"},
	{Name: "sctp T bit of a cookie means nothing", Script: "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(7,cookie-echo=T) INV [COOKIE_WAIT] · o:sctp(9,cookie-echo=T) EST [COOKIE_ECHOED]"},
	{Name: "sctp invalid behind a cookie", Script: "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(9,cookie-echo,abort=T) INV [COOKIE_ECHOED]"},
	{Name: "sctp tags of shutdown-complete", Script: "ASSOCIATION · o:sctp(9,shutdown) EST · r:sctp(7,shutdown-ack) EST · o:sctp(7,shutdown-complete) INV · o:sctp(9,shutdown-complete=T) INV · o:sctp(7,shutdown-complete=T) EST [CLOSED]"},
	{Name: "sctp tag of cookie-echo", Script: "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(7,cookie-echo) INV · o:sctp(7,cookie-echo,heartbeat) INV · o:sctp(9,cookie-echo) EST"},
	{Name: "sctp tag of shutdown-ack does not count", Script: "ASSOCIATION · o:sctp(9,shutdown) EST · r:sctp(1234,shutdown-ack) EST [SHUTDOWN_ACK_SENT]"},
	{Name: "sctp other tags", Script: "ASSOCIATION · o:sctp(7,shutdown) INV · o:sctp(7,error) INV · o:sctp(7,cookie-ack) INV · r:sctp(9,sack) INV · r:sctp(9,init-ack=9) INV [ESTABLISHED]"},
	{Name: "sctp init-ack against a known tag", Script: "ASSOCIATION · r:sctp(7,init-ack=5) INV · r:sctp(7,init-ack=9) EST · o:sctp(0,init=7) EST · r:sctp(7,init-ack=5) INV · o:sctp(9,data) EST"},
	{Name: "sctp init-ack after an init with another tag", Script: "ASSOCIATION · o:sctp(0,init=17) EST · r:sctp(17,init-ack=5) EST · o:sctp(9,data) INV · o:sctp(5,data) EST"},
	{Name: "sctp opened from both sides", Script: "o:sctp(0,init=7) NEW · r:sctp(0,init=9) EST · o:sctp(9,init-ack=8) INV · o:sctp(9,init-ack=7) EST · r:sctp(7,init-ack=9) EST [COOKIE_WAIT]"},
	{Name: "sctp heartbeat with another tag", Script: "ASSOCIATION · o:sctp(5,heartbeat) EST/o · o:sctp(5,data) INV · r:sctp(7,heartbeat-ack) EST · r:sctp(6,heartbeat-ack) INV · o:sctp(9,data) EST"},
	{Name: "sctp heartbeat with another tag, answered with another", Script: "ASSOCIATION · o:sctp(5,heartbeat) EST · r:sctp(6,heartbeat-ack) EST/r · r:sctp(6,data) EST · r:sctp(7,data) INV · o:sctp(9,data) INV · o:sctp(5,heartbeat) EST · o:sctp(5,data) EST"},
	{Name: "sctp heartbeat with another tag and data", Script: "ASSOCIATION · o:sctp(5,heartbeat,data) INV · r:sctp(6,heartbeat-ack) INV · o:sctp(5,heartbeat,heartbeat) INV · r:sctp(6,heartbeat-ack) EST/r · r:sctp(6,data) EST"},
	{Name: "sctp answer to one's own heartbeat", Script: "ASSOCIATION · o:sctp(5,heartbeat) EST · o:sctp(6,heartbeat-ack) INV · r:sctp(6,heartbeat-ack,data) INV"},
	{Name: "sctp error during the opening", Script: "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST · o:sctp(9,cookie-echo) EST · r:sctp(7,error) EST [CLOSED]"},
	{Name: "sctp restart", Script: "ASSOCIATION · o:sctp(0,init=17) EST [ESTABLISHED] · r:sctp(17,init-ack=19) EST · o:sctp(19,cookie-echo) EST · r:sctp(17,cookie-ack) EST · o:sctp(9,data) INV · o:sctp(19,data) EST"},

	{Name: "sctp init lives 10 s", Script: "o:sctp(0,init=7) NEW · +9s · r:sctp(7,init-ack=9) EST · +2s · o:sctp(9,cookie-echo) EST · +3s · r:sctp(7,cookie-ack) INV"},
	{Name: "sctp repeated init does not prolong", Script: "o:sctp(0,init=7) NEW · +6s · o:sctp(0,init=7) NEW · +4s · r:sctp(7,init-ack=9) INV"},
	{Name: "sctp established lives 210 s", Script: "ASSOCIATION · +209s · o:sctp(9,sack) EST · +210s · o:sctp(9,sack) INV"},
	{Name: "sctp invalid does not prolong", Script: "ASSOCIATION · +209s · o:sctp(8,sack) INV · +1s · o:sctp(9,sack) INV"},
	{Name: "sctp ignored does not prolong", Script: "ASSOCIATION · +209s · o:sctp(8,heartbeat) EST · +1s · o:sctp(9,sack) INV"},
	{Name: "sctp shutdown lives 3 s", Script: "ASSOCIATION · o:sctp(9,shutdown) EST · +3s · r:sctp(7,data) INV"},
	{Name: "sctp heartbeat lives 30 s", Script: "o:sctp(9,heartbeat) NEW · +29s · o:sctp(9,heartbeat) NEW · +30s · r:sctp(7,heartbeat-ack) NEW/o"},
	{Name: "sctp closed opens anew after 10 s", Script: "ASSOCIATION · o:sctp(9,abort) EST · +10s · o:sctp(0,init=7) NEW"},
	{Name: "icmp error about sctp", Script: "o:sctp(0,init=7) NEW · r:icmp(3,2,0) about=o:sctp(0,init=7) REL/r · r:icmp(3,3,0) about=o:sctp(0,init=7) keep=4 REL/r"},
}

// sctpFirstCases tries every chunk without an association.
func sctpFirstCases() []Case {
	verdicts := map[string]string{
		"init=7": "INV", "init-ack=7": "INV", "data": "INV", "sack": "INV", "cookie-echo": "INV", "cookie-ack": "INV",
		"abort": "INV", "abort=T": "INV", "error": "INV", "shutdown": "INV", "shutdown-complete": "INV",
		"heartbeat": "NEW", "heartbeat-ack": "NEW", "shutdown-ack": "NEW",
	}
	untagged := map[string]string{"init=7": "NEW", "init-ack=7": "NEW", "cookie-echo": "NEW", "error": "NEW", "shutdown": "NEW"}
	var cases []Case
	for chunk, verdict := range verdicts {
		cases = append(cases, Case{Name: "sctp first: " + chunk, Script: fmt.Sprintf("o:sctp(9,%s) %s", chunk, verdict)})
		if v := untagged[chunk]; v != "" {
			verdict = v
		}
		cases = append(cases, Case{Name: "sctp first: " + chunk + ", no tag", Script: fmt.Sprintf("o:sctp(0,%s) %s", chunk, verdict)})
	}
	return cases
}
