package kerneltest

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// host is what a TCP host would remember.
type host struct {
	next   uint32 // sequence number of its next segment
	window uint32 // the last it announced, scaled
	scale  int
}

// tcpHosts are both ends of what a sequence is about.
type tcpHosts struct {
	hosts map[byte]*host
}

var initialNumbers = []uint32{1000, 5000, 0, 1, 0x7fffff00, 0x80000000, 0xfffffff0, 0xffff0000}

// drawTCP draws connections that open, run and end in order, and all that goes
// wrong on the way.
func drawTCP(t *rapid.T) string {
	h := &tcpHosts{hosts: map[byte]*host{'o': {next: 1000}, 'r': {next: 5000}}}
	opened := false
	return draw(t, rapid.IntRange(0, 9).Draw(t, "v6") == 9, func(s *sequence) {
		if !opened {
			opened = true
			h.open(s)
			return
		}
		h.step(s)
	})
}

// open begins as most connections do.
func (h *tcpHosts) open(s *sequence) {
	h.hosts['o'].next, h.hosts['r'].next = oneOf(s, initialNumbers...), oneOf(s, initialNumbers...)
	switch oneOf(s, 0, 0, 0, 0, 1, 2, 3) {
	case 0:
		h.handshake(s, 'o')
	case 1: // and no answer
		h.send(s, 'o', "S", 0, 0)
	case 2: // from both sides
		h.send(s, 'o', "S", 0, 0)
		h.send(s, 'r', "S", 0, 0)
	case 3: // unseen
		h.step(s)
	}
}

func (h *tcpHosts) handshake(s *sequence, from byte) {
	h.send(s, from, "S", 0, 0)
	h.send(s, other(from), "SA", 0, 0)
	h.send(s, from, "A", 0, 0)
}

func (h *tcpHosts) step(s *sequence) {
	s.pause()
	side := s.side()
	switch kind := rapid.IntRange(0, 39).Draw(s.t, "kind"); {
	case kind < 14: // as it should be
		h.send(s, side, oneOf(s, "A", "PA", "PA", "FA", "AE", "PAU"), 0, 0)
	case kind < 16: // a new connection in place of the old
		if s.chance(50) {
			h.hosts[side].next = oneOf(s, initialNumbers...)
		}
		h.handshake(s, side)
	case kind < 17: // a regular end
		h.send(s, side, "FA", 0, 0)
		h.send(s, other(side), "A", 0, 0)
		h.send(s, other(side), "FA", 0, 0)
		h.send(s, side, "A", 0, 0)
	case kind < 18:
		s.steps = append(s.steps, s.steps[max(0, len(s.steps)-1):]...) // repeated
	case kind < 19:
		s.add(fmt.Sprintf("%c:icmp(%d,%d,0)", side, oneOf(s, 3, 1, 11, 5), oneOf(s, 0, 3)),
			fmt.Sprintf("about=%c:A", s.side()), "src="+oneOf(s, "x", string(side)))
	case kind < 24:
		h.send(s, side, oneOf(s, "R", "RA"), h.offset(s, side), h.offset(s, other(side)))
	case kind < 27:
		h.send(s, side, oneOf(s, "S", "SA", "FA", "A"), h.offset(s, side), h.offset(s, other(side)))
	case kind < 29: // any flags
		h.send(s, side, h.flags(s), h.offset(s, side), h.offset(s, other(side)))
	default:
		h.send(s, side, oneOf(s, "A", "A", "PA", "FA", "SA", "R"), h.offset(s, side), h.offset(s, other(side)))
	}
}

func (h *tcpHosts) flags(s *sequence) string {
	flags := ""
	for _, letter := range "SAFRPUEC" {
		if s.chance(35) {
			flags += string(letter)
		}
	}
	if flags == "" {
		return "none"
	}
	return flags
}

// offset draws how far a number is off: mostly little, or by about what one of
// the windows allows.
func (h *tcpHosts) offset(s *sequence, side byte) uint32 {
	if s.chance(40) {
		return 0
	}
	edge := oneOf(s, 0, 1, 10, 100, 1000, 1460, 66000, h.hosts['o'].window, h.hosts['r'].window,
		h.hosts['o'].window+h.hosts['r'].window, 65535, 1<<20, 1<<30, 1<<31)
	edge += oneOf[uint32](s, 0, 1, 2, 0xffffffff, 0xfffffffe)
	if s.chance(50) {
		return -edge
	}
	return edge
}

// option draws TCP options as bytes, broken ones too.
func (h *tcpHosts) option(s *sequence, peer byte) string {
	edge := func() string { return fmt.Sprintf("%08x", h.hosts[peer].next+h.offset(s, peer)) }
	var text string
	for range rapid.IntRange(1, 3).Draw(s.t, "options") {
		text += oneOf(s, "0101080a0000000100000002", "020405b4", "0402", "030307", "03030f", "01", "00", "0300", "0301", "0304", "03",
			"050a"+edge()+edge(), "0512"+edge()+edge()+edge()+edge(), "0506"+edge(), "0502", "ff02", "1e04", "050a")
	}
	return text[:min(len(text), 2*36)]
}

// send appends a segment whose numbers are off by some; its sender goes on from it
// only if its sequence number is right.
func (h *tcpHosts) send(s *sequence, side byte, flags string, seqOff, ackOff uint32) {
	from, to := h.hosts[side], h.hosts[other(side)]
	seq, ack := from.next+seqOff, uint32(0)
	if strings.Contains(flags, "A") {
		ack = to.next + ackOff
	}
	if strings.Contains(flags, "R") && s.chance(20) {
		seq = 0
	}
	if flags == "RA" && s.chance(20) {
		ack = 0
	}
	data := 0
	if !strings.ContainsAny(flags, "SR") && s.chance(50) || s.chance(2) {
		data = oneOf(s, 1, 10, 100, 1000, 1460, 4000, 16000, 60000)
	}
	what := fmt.Sprintf("%c:%s(%d,%d)", side, flags, seq, ack)
	if data > 0 {
		what += fmt.Sprintf("+%d", data)
	}
	window := oneOf[uint32](s, 8192, 8192, 65535, 1000, 100, 1, 0)
	options := []string{fmt.Sprintf("win=%d", window)}
	if strings.Contains(flags, "S") {
		from.scale = 0
		if s.chance(50) {
			from.scale = oneOf(s, 0, 1, 2, 7, 14, 15)
			options = append(options, fmt.Sprintf("scale=%d", from.scale))
		}
		if s.chance(50) {
			options = append(options, "sackok")
		}
		from.window = window
	} else {
		from.window = window << min(from.scale, 14)
		if s.chance(15) {
			left := to.next + h.offset(s, other(side))
			options = append(options, fmt.Sprintf("sack=%d-%d", left, left+oneOf[uint32](s, 1, 10, 1000, 0)))
		}
	}
	if s.chance(10) {
		options = append(options, "opt="+h.option(s, other(side)))
	}
	if s.chance(2) {
		options = append(options, fmt.Sprintf("cut=%d", oneOf(s, 20, 19, 24, 8, 4, 3, 0)))
	}
	if seqOff == 0 && !strings.Contains(flags, "R") {
		from.next = seq + uint32(data) + uint32(strings.Count(flags, "S")+strings.Count(flags, "F"))
	}
	s.add(what, options...)
}
