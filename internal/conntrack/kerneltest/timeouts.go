package kerneltest

import (
	"time"

	"tapgate/internal/conntrack"
)

// sysctls are the kernel's names of timeouts. SynSent2 and UDP-Lite have none.
func sysctls(t *conntrack.Timeouts) map[string]time.Duration {
	return map[string]time.Duration{
		"tcp_timeout_syn_sent":           t.TCP[conntrack.SynSent],
		"tcp_timeout_syn_recv":           t.TCP[conntrack.SynReceived],
		"tcp_timeout_established":        t.TCP[conntrack.Established],
		"tcp_timeout_fin_wait":           t.TCP[conntrack.FinWait],
		"tcp_timeout_close_wait":         t.TCP[conntrack.CloseWait],
		"tcp_timeout_last_ack":           t.TCP[conntrack.LastACK],
		"tcp_timeout_time_wait":          t.TCP[conntrack.TimeWait],
		"tcp_timeout_close":              t.TCP[conntrack.Close],
		"tcp_timeout_max_retrans":        t.TCPMaxRetrans,
		"tcp_timeout_unacknowledged":     t.TCPUnacknowledged,
		"sctp_timeout_closed":            t.SCTP[conntrack.SCTPClosed],
		"sctp_timeout_cookie_wait":       t.SCTP[conntrack.CookieWait],
		"sctp_timeout_cookie_echoed":     t.SCTP[conntrack.CookieEchoed],
		"sctp_timeout_established":       t.SCTP[conntrack.SCTPEstablished],
		"sctp_timeout_shutdown_sent":     t.SCTP[conntrack.ShutdownSent],
		"sctp_timeout_shutdown_recd":     t.SCTP[conntrack.ShutdownReceived],
		"sctp_timeout_shutdown_ack_sent": t.SCTP[conntrack.ShutdownACKSent],
		"sctp_timeout_heartbeat_sent":    t.SCTP[conntrack.HeartbeatSent],
		"udp_timeout":                    t.UDP,
		"udp_timeout_stream":             t.UDPStream,
		"gre_timeout":                    t.GRE,
		"gre_timeout_stream":             t.GREStream,
		"icmp_timeout":                   t.ICMP,
		"icmpv6_timeout":                 t.ICMPv6,
		"generic_timeout":                t.Generic,
	}
}

// SetTimeouts sets the timeouts of connections that are opened, or go on, from
// now on: in whole seconds.
func (k *Kernel) SetTimeouts(t conntrack.Timeouts) error {
	for name, d := range sysctls(&t) {
		if err := k.Set("nf_conntrack_"+name, int(d/time.Second)); err != nil {
			return err
		}
	}
	return nil
}
