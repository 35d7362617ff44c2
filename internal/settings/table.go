// Package settings knows what can be set about the tracking of connections,
// for the host and for a port: names, values, defaults. For a port they are
// parameters of its binding, whose names begin with CTRL_ as libvirt's own
// CTRL_IP_LEARNING does; they win over the host's.
package settings

import (
	"strconv"
	"strings"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// Setting is one thing that can be set.
type Setting struct {
	// Name is that of the parameter of a binding.
	Name    string
	Kind    Kind
	Default string // as text; several values are separated by commas
	// About says in one line what it does.
	About string

	apply func(*Settings, value)
}

// Kind is what the values of a setting look like.
type Kind uint8

// The kinds.
const (
	Seconds Kind = iota // one number
	Count               // one number
	YesNo               // "yes" or "no"
	Ports               // L4 ports, or "none"
)

// Settings are all values in the form in which they are used.
type Settings struct {
	// MaxConnections is the port's quota.
	MaxConnections uint32
	// PickUp lets a TCP packet from the middle of a connection open one.
	PickUp   bool
	Timeouts conntrack.Timeouts
	// Services are the ports of helpers, not nil.
	Services []conntrack.Service
}

// DefaultMaxConnections is a port's quota of connections.
const DefaultMaxConnections = 65536

// Conntrack is the configuration of the tracker in Go.
func (s Settings) Conntrack() conntrack.Config {
	return conntrack.Config{PickUp: s.PickUp, MaxConnections: int(s.MaxConnections), Timeouts: s.Timeouts, Services: s.Services}
}

const (
	prefix        = policy.SettingPrefix
	timeoutPrefix = prefix + "TIMEOUT_"
	helperPrefix  = prefix + "HELPER_"
)

var table = append([]Setting{
	{prefix + "MAX_CONNECTIONS", Count, strconv.Itoa(DefaultMaxConnections), "connections that a port may have at once",
		func(s *Settings, v value) { s.MaxConnections = uint32(v.number) }},
	{prefix + "TCP_PICK_UP", YesNo, "yes", "whether a TCP connection may be first seen midway: it is NEW then, else INVALID",
		func(s *Settings, v value) { s.PickUp = v.yes }},
	helper("FTP", "21", "TCP ports of FTP servers", packet.ProtoTCP),
	helper("TFTP", "69", "UDP ports of TFTP servers", packet.ProtoUDP),
	helper("IRC", "6667", "TCP ports of IRC servers", packet.ProtoTCP),
	helper("SIP", "5060", "TCP and UDP ports of SIP servers", packet.ProtoUDP, packet.ProtoTCP),
	helper("AMANDA", "10080", "UDP ports of Amanda servers", packet.ProtoUDP),
}, timeouts()...)

func helper(name, ports, about string, protocols ...uint8) Setting {
	named := conntrack.HelperNamed(strings.ToLower(name))
	return Setting{helperPrefix + name, Ports, ports, about + "; what they announce is RELATED",
		func(s *Settings, v value) {
			for _, port := range v.ports {
				for _, proto := range protocols {
					s.Services = append(s.Services, conntrack.Service{Helper: named, Proto: proto, Port: port})
				}
			}
		}}
}

// timeouts have the names of nf_conntrack's sysctls.
func timeouts() []Setting {
	defaults := conntrack.DefaultTimeouts()
	var list []Setting
	for _, timeout := range []struct {
		name, about string
		of          func(*conntrack.Timeouts) *time.Duration
	}{
		{"TCP_SYN_SENT", "TCP after a SYN", tcp(conntrack.SynSent)},
		{"TCP_SYN_RECV", "TCP after the SYN's answer", tcp(conntrack.SynReceived)},
		{"TCP_ESTABLISHED", "an open TCP connection", tcp(conntrack.Established)},
		{"TCP_FIN_WAIT", "TCP after the first FIN", tcp(conntrack.FinWait)},
		{"TCP_CLOSE_WAIT", "TCP after the first FIN's ACK", tcp(conntrack.CloseWait)},
		{"TCP_LAST_ACK", "TCP after the second FIN", tcp(conntrack.LastACK)},
		{"TCP_TIME_WAIT", "TCP after the second FIN's ACK", tcp(conntrack.TimeWait)},
		{"TCP_CLOSE", "TCP after a reset", tcp(conntrack.Close)},
		{"TCP_MAX_RETRANS", "at most, TCP after a packet that was repeated three times, or with a closed window",
			func(t *conntrack.Timeouts) *time.Duration { return &t.TCPMaxRetrans }},
		{"TCP_UNACKNOWLEDGED", "at most, TCP with data that is not acknowledged, or without any answer",
			func(t *conntrack.Timeouts) *time.Duration { return &t.TCPUnacknowledged }},
		{"UDP", "UDP without an answer, or younger than 2 seconds", func(t *conntrack.Timeouts) *time.Duration { return &t.UDP }},
		{"UDP_STREAM", "UDP that was answered", func(t *conntrack.Timeouts) *time.Duration { return &t.UDPStream }},
		{"UDPLITE", "UDP-Lite without an answer", func(t *conntrack.Timeouts) *time.Duration { return &t.UDPLite }},
		{"UDPLITE_STREAM", "UDP-Lite that was answered", func(t *conntrack.Timeouts) *time.Duration { return &t.UDPLiteStream }},
		{"ICMP", "a question by ICMP", func(t *conntrack.Timeouts) *time.Duration { return &t.ICMP }},
		{"ICMPV6", "a question by ICMPv6", func(t *conntrack.Timeouts) *time.Duration { return &t.ICMPv6 }},
		{"GRE", "GRE without an answer", func(t *conntrack.Timeouts) *time.Duration { return &t.GRE }},
		{"GRE_STREAM", "GRE that was answered", func(t *conntrack.Timeouts) *time.Duration { return &t.GREStream }},
		{"GENERIC", "any other protocol", func(t *conntrack.Timeouts) *time.Duration { return &t.Generic }},
		{"SCTP_CLOSED", "SCTP after an INIT, or after its end", sctp(conntrack.SCTPClosed)},
		{"SCTP_COOKIE_WAIT", "SCTP after an INIT-ACK", sctp(conntrack.CookieWait)},
		{"SCTP_COOKIE_ECHOED", "SCTP after a COOKIE-ECHO", sctp(conntrack.CookieEchoed)},
		{"SCTP_ESTABLISHED", "an open SCTP association", sctp(conntrack.SCTPEstablished)},
		{"SCTP_SHUTDOWN_SENT", "SCTP after a SHUTDOWN of who opened it", sctp(conntrack.ShutdownSent)},
		{"SCTP_SHUTDOWN_RECD", "SCTP after a SHUTDOWN of the other end", sctp(conntrack.ShutdownReceived)},
		{"SCTP_SHUTDOWN_ACK_SENT", "SCTP after a SHUTDOWN-ACK", sctp(conntrack.ShutdownACKSent)},
		{"SCTP_HEARTBEAT_SENT", "SCTP after a HEARTBEAT of an unknown association", sctp(conntrack.HeartbeatSent)},
	} {
		list = append(list, Setting{timeoutPrefix + timeout.name, Seconds, secondsText(*timeout.of(&defaults)), timeout.about,
			func(s *Settings, v value) { *timeout.of(&s.Timeouts) = time.Duration(v.number) * time.Second }})
	}
	return list
}

func tcp(state conntrack.TCPState) func(*conntrack.Timeouts) *time.Duration {
	return func(t *conntrack.Timeouts) *time.Duration { return &t.TCP[state] }
}

func sctp(state conntrack.SCTPState) func(*conntrack.Timeouts) *time.Duration {
	return func(t *conntrack.Timeouts) *time.Duration { return &t.SCTP[state] }
}

// All are the settings in the order in which they are shown.
func All() []Setting { return table }

// Find is the setting of a name as in a binding; nil if there is none.
func Find(name string) *Setting {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// ShortName is the name on the command line: "timeout_udp".
func (s *Setting) ShortName() string {
	return strings.ToLower(strings.TrimPrefix(s.Name, prefix))
}
