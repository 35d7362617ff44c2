package compat

import (
	"bytes"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

// calledInvalid is the predicate of a difference by which libvirt's packet is
// INVALID and Tapgate's is not.
func calledInvalid(invalid func(*History, *Observation) bool) func(*History) bool {
	return func(h *History) bool {
		cause := func(o *Observation) bool { return invalid(h, o) }
		last := h.last()
		direct := h.policy.Facts.States && cause(last) &&
			h.passes(last, reading{}.withState(packet.StateInvalid, 0)) != h.passes(last, reading{})
		return direct || h.follows(cause, reading{})
	}
}

func badChecksum(_ *History, o *Observation) bool { return checksumOf(&o.Packet) == wrongChecksum }

// goodUDPLite is a packet that nf_conntrack calls INVALID because it verifies
// with UDP's protocol number.
func goodUDPLite(_ *History, o *Observation) bool {
	return o.Packet.LinkProto == packet.ProtoUDPLite && checksumOf(&o.Packet) == goodChecksum
}

// fragmentOrder: this fragment came before its first one, and a rule needed
// what only that one tells.
func fragmentOrder(h *History) bool { return h.last().Reason == verdict.OrphanFragment }

// shortFirst: the datagram's first fragment was dropped for its length.
func shortFirst(h *History) bool {
	last := h.last()
	if last.Reason == verdict.ShortFirstFragment {
		return true
	}
	for _, o := range h.earlier() {
		if o.Reason == verdict.ShortFirstFragment && sameDatagram(&o.Packet, &last.Packet) {
			return true
		}
	}
	return false
}

func sameDatagram(a, b *packet.Packet) bool {
	return b.Fragment != packet.FragmentNone && a.Family == b.Family && a.Out == b.Out &&
		a.FragmentID == b.FragmentID && a.SrcIP == b.SrcIP && a.DstIP == b.DstIP
}

// linkFragment hides from link-stage rules what a later fragment knows from
// its first one. The first one waits for the others and is lost with them.
func linkFragment(p *packet.Packet, stage nwfilter.Stage) {
	if stage == nwfilter.LinkStage && (p.Fragment == packet.FragmentLater || p.Fragment == packet.FragmentFirst) {
		p.Have &^= packet.HavePorts | packet.HaveTCP | packet.HaveTCPOptions | packet.HaveICMP | packet.HaveICMPv6
	}
}

// flooded: a frame for many was dropped here, and another copy of it made the
// connection known to the kernel.
func flooded(h *History) bool {
	return h.follows(func(o *Observation) bool {
		const group = 1 << 40 // the first bit on the wire
		return o.Packet.DstMAC&group != 0 && o.Packet.State == packet.StateNew && !o.Verdict.Passes()
	}, reading{})
}

// counted: a rule with connlimit-above is reached, and its count decides; or
// the kernel drops the packet there because its connection is closing and
// nothing is left to count.
func counted(h *History) bool {
	if !h.policy.Facts.ConnLimit {
		return false
	}
	if readDifferently(reading{beyond: func(c *policy.Clause, actual bool) bool {
		return actual != (c.ConnLimit != nil)
	}})(h) {
		return true
	}
	return h.closing() && readDifferently(reading{uncounted: true})(h)
}

// closing tells whether a TCP packet of a known connection comes with or after
// a FIN or RST.
func (h *History) closing() bool {
	const finRST = 0x01 | 0x04
	last := &h.last().Packet
	if last.State != packet.StateEstablished {
		return false
	}
	for i := range h.packets {
		p := &h.packets[i].Packet
		if p.Have&packet.HaveTCP != 0 && p.TCPFlags&finRST != 0 && h.connected(p, last) {
			return true
		}
	}
	return false
}

// ftpStream: a control packet that the kernel's helper drops, or what follows
// from an announcement that it does not see, or sees and Tapgate does not.
func ftpStream(h *History) bool {
	if !h.policy.Facts.Related {
		return false
	}
	last := h.last()
	return last.Verdict.Passes() && announces(&last.Packet) ||
		h.follows(func(o *Observation) bool { return announces(&o.Packet) }, reading{})
}

// announcements are what packets contain that announce something.
var announcements = map[conntrack.Helper][]string{
	conntrack.FTP:    {"PORT", "EPRT", "227 ", "229 "},
	conntrack.TFTP:   {"\x00\x01", "\x00\x02"},
	conntrack.IRC:    {"DCC "},
	conntrack.Amanda: {"CONNECT "},
	conntrack.SIP:    {"INVITE ", "UPDATE ", "ACK ", "PRACK ", "BYE ", "REGISTER ", "SIP/2.0 "},
}

// announces tells whether a control packet looks like an announcement or the
// beginning of one.
func announces(p *packet.Packet) bool {
	flows := flowsOf(p)
	if len(flows) == 0 || p.L4Length <= p.L4Header {
		return false
	}
	payload := bytes.ToUpper(p.Frame[p.L4Offset+p.L4Header : p.L4Offset+p.L4Length])
	for _, text := range announcements[flows[0].helper()] {
		if bytes.Contains(payload, []byte(text)) || bytes.HasPrefix([]byte(text), payload) {
			return true
		}
	}
	return false
}
