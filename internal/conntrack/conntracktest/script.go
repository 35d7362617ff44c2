// Package conntracktest holds the sequences of packets that every connection
// tracker must judge alike: the Go one and the eBPF program. They are written
// in a short notation (see Script) and were observed on Linux 6.18.
package conntracktest

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tapgate/internal/packet"
)

// Step is one packet of a sequence, or a pause.
type Step struct {
	Text       string // as written
	Pause      time.Duration
	Frame      []byte // nil: only a pause
	Out        bool   // sent by the side o
	Drop       bool   // a rule drops it: nothing is committed
	State      packet.State
	Direction  packet.Direction // 0: not checked
	ProtoState string           // of the newest connection after the packet, "": not checked
}

// Script reads a sequence. Steps are separated by "·"; o is the sender of the
// first packet, r the other side:
//
//	o:S NEW · r:SA EST · o:A EST/o [ESTABLISHED] · +30s · o:udp! NEW
//
// A TCP segment is written as its flags (S A F R P U E C), then (seq,ack) and
// +bytes if they are not what follows from the packets before. Other packets:
// udp, udplite, sctp(tag,chunk,…), gre, icmp(type,code,id), proto(number). "!"
// behind a packet means that a rule drops it. Then come options as key=value,
// the state, optionally with the direction, and optionally TCP's or SCTP's own
// state. "v6" as a step switches to IPv6.
func Script(text string) ([]Step, error) {
	s := script{
		next: map[byte]uint32{'o': 1000, 'r': 5000},
	}
	var steps []Step
	for _, part := range strings.Split(text, "·") {
		part = strings.TrimSpace(part)
		switch {
		case part == "v6":
			s.v6 = true
			continue
		case strings.HasPrefix(part, "+"):
			pause, err := time.ParseDuration(part[1:])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", part, err)
			}
			steps = append(steps, Step{Text: part, Pause: pause})
			continue
		}
		step, err := s.step(part)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// script is the hosts' side of a sequence: the numbers that their next
// segments carry.
type script struct {
	v6   bool
	next map[byte]uint32
}

var states = map[string]packet.State{
	"NEW": packet.StateNew,
	"EST": packet.StateEstablished,
	"REL": packet.StateRelated,
	"INV": packet.StateInvalid,
	"UNT": packet.StateUntracked,
}

func (s *script) step(text string) (Step, error) {
	step := Step{Text: text}
	words := strings.Fields(text)
	if len(words) < 2 {
		return step, fmt.Errorf("want a packet and its state")
	}
	last := words[len(words)-1]
	if strings.HasPrefix(last, "[") {
		step.ProtoState = strings.Trim(last, "[]")
		words = words[:len(words)-1]
		last = words[len(words)-1]
	}
	name, dir, _ := strings.Cut(last, "/")
	step.State = states[name]
	if step.State == 0 {
		return step, fmt.Errorf("unknown state %q", last)
	}
	step.Direction = map[string]packet.Direction{"o": packet.Original, "r": packet.Reply}[dir]
	what := words[0]
	step.Drop = strings.HasSuffix(what, "!")
	what = strings.TrimSuffix(what, "!")
	options := map[string]string{}
	for _, word := range words[1 : len(words)-1] {
		key, value, _ := strings.Cut(word, "=")
		options[key] = value
	}
	p, err := s.packet(what, options)
	if err != nil {
		return step, err
	}
	step.Out = what[0] == 'o'
	step.Frame = ethernet(s.v6, p.bytes())
	return step, nil
}

// address of a name: o, r, x (a stranger), l (link-local; IPv6 only).
func (s *script) address(name string) []byte {
	if s.v6 {
		b := make([]byte, 16)
		b[0], b[1] = 0xfd, 0x00
		if name == "l" {
			b[0], b[1] = 0xfe, 0x80
		}
		b[15] = name[0]
		return b
	}
	return []byte{10, 0, 0, name[0]}
}

var flagBits = map[rune]uint8{'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 0x10, 'U': 0x20, 'E': 0x40, 'C': 0x80}

// packet reads "o:what(arguments)+bytes".
func (s *script) packet(text string, options map[string]string) (ip, error) {
	if len(text) < 3 || text[1] != ':' || text[0] != 'o' && text[0] != 'r' {
		return ip{}, fmt.Errorf("a packet begins with o: or r: and says what it is, not %q", text)
	}
	from, to := "o", "r"
	if text[0] == 'r' {
		from, to = to, from
	}
	p := ip{v6: s.v6, src: s.address(from), dst: s.address(to), hopLimit: 64}
	what := text[2:]
	data := 0
	if before, after, ok := strings.Cut(what, "+"); ok {
		n, err := strconv.Atoi(after)
		if err != nil {
			return p, err
		}
		what, data = before, n
	}
	what, list, _ := strings.Cut(what, "(")
	if err := s.fill(&p, text[0], what, strings.TrimSuffix(list, ")"), data, options); err != nil {
		return p, err
	}
	return p, s.apply(&p, options)
}

// numbers reads the arguments of every packet but SCTP's.
func numbers(list string) ([]uint32, error) {
	var arguments []uint32
	for _, field := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		n, err := strconv.ParseInt(field, 0, 64)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, uint32(n))
	}
	return arguments, nil
}

func (s *script) fill(p *ip, side byte, what, list string, data int, options map[string]string) error {
	srcPort, dstPort := uint16(40000), uint16(80)
	if options["ports"] == "equal" {
		srcPort = dstPort
	}
	if side == 'r' {
		srcPort, dstPort = dstPort, srcPort
	}
	if what == "sctp" {
		p.proto = packet.ProtoSCTP
		var err error
		p.payload, err = sctp(srcPort, dstPort, list)
		return err
	}
	arguments, err := numbers(list)
	if err != nil {
		return err
	}
	argument := func(i int) uint32 {
		if i < len(arguments) {
			return arguments[i]
		}
		return 0
	}
	switch what {
	case "udp", "udplite":
		p.proto = packet.ProtoUDP
		length := 8 + data
		if v, ok := options["length"]; ok {
			length, _ = strconv.Atoi(v)
		}
		p.payload = udp(srcPort, dstPort, data, length)
		if what == "udplite" {
			p.proto = packet.ProtoUDPLite
			be.PutUint16(p.payload[6:], 1)
			if options["checksum"] == "0" {
				be.PutUint16(p.payload[6:], 0)
			}
		}
	case "gre": // gre(version,call,protocol)
		p.proto = 47
		p.payload = make([]byte, 8)
		p.payload[1] = uint8(argument(0))
		be.PutUint16(p.payload[6:], uint16(argument(1)))
		be.PutUint16(p.payload[2:], 0x880b)
		if len(arguments) > 2 {
			be.PutUint16(p.payload[2:], uint16(argument(2)))
		}
	case "proto":
		p.proto = uint8(argument(0))
		p.payload = make([]byte, data)
	case "icmp":
		p.proto = packet.ProtoICMP
		if p.v6 {
			p.proto = packet.ProtoICMPv6
		}
		quote, err := s.quote(options)
		if err != nil {
			return err
		}
		p.payload = icmp(uint8(argument(0)), uint8(argument(1)), uint16(argument(2)), quote)
	default:
		p.proto = packet.ProtoTCP
		var flags uint8
		for _, letter := range strings.TrimPrefix(what, "none") {
			bit, ok := flagBits[letter]
			if !ok {
				return fmt.Errorf("unknown packet %q", what)
			}
			flags |= bit
		}
		segment := s.segment(side, flags, arguments, data, options)
		segment.srcPort, segment.dstPort = srcPort, dstPort
		p.payload = segment.bytes()
	}
	return nil
}

// segment numbers a TCP segment as its sender would.
func (s *script) segment(side byte, flags uint8, arguments []uint32, data int, options map[string]string) tcp {
	t := tcp{flags: flags, seq: s.next[side], window: 8192, data: data}
	if flags&flagBits['A'] != 0 {
		t.ack = s.next['o'+'r'-side]
	}
	if len(arguments) > 0 {
		t.seq = arguments[0]
	}
	if len(arguments) > 1 {
		t.ack = arguments[1]
	}
	if v, ok := options["win"]; ok {
		n, _ := strconv.Atoi(v)
		t.window = uint16(n)
	}
	if v, ok := options["scale"]; ok {
		n, _ := strconv.Atoi(v)
		t.options = append(t.options, 3, 3, uint8(n))
	}
	if _, ok := options["sackok"]; ok {
		t.options = append(t.options, 4, 2)
	}
	if v, ok := options["sack"]; ok {
		var left, right uint32
		fmt.Sscanf(v, "%d-%d", &left, &right)
		t.options = be.AppendUint32(append(t.options, 5, 10), left)
		t.options = be.AppendUint32(t.options, right)
	}
	if v, ok := options["opt"]; ok { // any bytes
		b, _ := hex.DecodeString(v)
		t.options = append(t.options, b...)
	}
	if flags&flagBits['R'] == 0 {
		s.next[side] = t.seq + uint32(data) + uint32(flags>>1&1) + uint32(flags&1)
	}
	return t
}

// quote is what an ICMP error says about another packet: about=o:udp, cut to
// keep=bytes of its transport part.
func (s *script) quote(options map[string]string) ([]byte, error) {
	about, ok := options["about"]
	if !ok {
		return nil, nil
	}
	inner := map[string]string{}
	for key, value := range options {
		if k, ok := strings.CutPrefix(key, "quoted-"); ok {
			inner[k] = value
		}
	}
	saved := map[byte]uint32{'o': s.next['o'], 'r': s.next['r']}
	q, err := s.packet(about, inner)
	s.next = saved
	if err != nil {
		return nil, err
	}
	b := q.bytes()
	if v, ok := options["keep"]; ok {
		n, _ := strconv.Atoi(v)
		b = b[:len(b)-len(q.payload)+min(n, len(q.payload))]
	}
	if v, ok := options["redirect"]; ok { // the quote as an option of this type
		n, _ := strconv.Atoi(v)
		option := append([]byte{uint8(n), uint8((len(b) + 15) / 8)}, make([]byte, 6)...)
		b = append(append(make([]byte, 32), option...), b...)
	}
	return b, nil
}

// apply reads the options about the IP header.
func (s *script) apply(p *ip, options map[string]string) error {
	for key, value := range options {
		switch key {
		case "src":
			p.src = s.address(value)
		case "dst":
			p.dst = s.address(value)
		case "hops":
			n, _ := strconv.Atoi(value)
			p.hopLimit = uint8(n)
		case "more":
			p.more = true
		case "offset":
			n, _ := strconv.Atoi(value)
			p.offset = uint16(n)
		case "cut":
			n, _ := strconv.Atoi(value)
			p.payload = p.payload[:min(n, len(p.payload))]
		case "as":
			n, _ := strconv.Atoi(value)
			p.proto = uint8(n)
		case "behind": // extension headers
			for _, field := range strings.Split(value, ",") {
				n, err := strconv.Atoi(field)
				if err != nil {
					return err
				}
				p.headers = append(p.headers, header{uint8(n)})
			}
		}
	}
	return nil
}
