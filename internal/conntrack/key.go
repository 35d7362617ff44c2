// Package conntrack decides the state of packets as nf_conntrack does: pure
// code with the clock handed in. It is the reference for the eBPF program's
// tracker (internal/datapath/skeleton/conntrack.h), which mirrors it step by
// step. Facts: spec/connection-tracking.md, tried on Linux 6.18.
package conntrack

import "tapgate/internal/packet"

// Key names a connection: its two ends in an order that does not depend on
// the packet's direction, so that one look-up finds it from both sides. For
// ICMP end A is who asks, APort the identifier and BPort type<<8|code of the
// question; protocols without ports have 0 there. (The eBPF key also holds the
// port's number; a Table belongs to one port.)
type Key struct {
	Family, Proto uint8
	APort, BPort  uint16
	A, B          packet.U128
}
