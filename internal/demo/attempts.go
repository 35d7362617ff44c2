package demo

import (
	"fmt"

	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

// attempt is something that is tried with a real client or a raw frame.
type attempt struct {
	// direction of its first packet, or of the frame.
	direction policy.Direction
	what      string
	// open is what should become of it without a filter, services under the
	// filters A and B, ping under C. Empty: it is not tried.
	open, services, ping Outcome
	probe
}

const (
	in  = policy.In
	out = policy.Out
)

// newAttempts lists what is tried. What kernels ask again after a time (IPv6)
// stands last.
func newAttempts(l *lab.Lab) []attempt {
	p := &probes{Lab: l}
	return []attempt{
		{in, "ssh", Works, Works, Works, p.ssh()},
		{in, "http", Works, Works, Works, p.http(l.Guest.At(lab.HTTPPort))},
		{in, "ftp, active by PORT", Works, Works, Blocked, p.ftp(lab.ActivePORT)},
		{in, "ftp, active by EPRT", Works, Works, "", p.ftp(lab.ActiveEPRT)},
		{in, fmt.Sprintf("ftp, active, %d times in a row", transfers), Works, Works, "", p.manyFTP()},
		{in, "ftp, passive", Works, Blocked, "", p.ftp(lab.PassivePASV)},
		{in, "https (a server listens)", Works, Blocked, Blocked, p.http(l.Guest.At(lab.HTTPSPort))},
		{in, fmt.Sprintf("tcp port %d (nobody listens)", lab.ClosedPort), Refused, Blocked, "", p.tcp(l.Guest.At(lab.ClosedPort))},
		{in, "ping", Works, Blocked, Blocked, p.ping(l.Neighbour, l.Guest.IPv4)},

		{out, "ping", Works, Works, Works, p.ping(l.Guest, l.Neighbour.IPv4)},
		{out, "icmp timestamp request", Works, Works, Blocked, p.frame(1, "icmp GUEST > NEIGHBOUR type 13 id NEW len 12")},
		{out, "icmp echo reply to no request", Works, Blocked, Blocked, p.frame(copies, "icmp GUEST > NEIGHBOUR echo-reply id NEW")},
		{out, "dns over udp", Works, Works, Works, p.dns("udp")},
		{out, "dns over tcp", Works, Blocked, "", p.dns("tcp")},
		{out, fmt.Sprintf("udp port %d (a server echoes)", lab.EchoPort), Works, Blocked, Blocked, p.echo()},

		{out, "arp request", Works, Works, "", p.frame(copies, "arp request GUEST > NEIGHBOUR")},
		{out, "arp with a spoofed IP address", Works, Blocked, "", p.frame(copies, "arp request OTHER > NEIGHBOUR")},
		{out, "arp with a spoofed MAC address", Works, Blocked, "", p.poison()},
		{out, "spoofed MAC address", Works, Blocked, Blocked, p.frame(copies, "OTHERMAC > NEIGHBOURMAC udp GUEST:4000 > NEIGHBOUR:53")},
		{out, "spoofed IP address", Works, Blocked, Blocked, p.frame(copies, "udp OTHER:4000 > NEIGHBOUR:53")},
		{out, fmt.Sprintf("unknown ethertype %#x", lab.UnknownEtherType), Works, Blocked, "", p.frame(copies, fmt.Sprintf("ether %#x len 64", lab.UnknownEtherType))},

		{in, "http over IPv6", Works, Blocked, "", p.http(l.Guest.At6(lab.HTTPPort))},
		{out, "ping over IPv6", Works, Blocked, "", p.ping(l.Guest, l.Neighbour.IPv6)},
	}
}
