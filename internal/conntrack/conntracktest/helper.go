package conntracktest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// helperCase is a control connection and what it announces.
type helperCase struct {
	name   string
	script string
}

// helperCases are sequences whose control connections run between o:40000 and
// the helper's port of r.
type helperCases struct {
	helper conntrack.Helper
	proto  uint8
	port   uint16
	cases  []helperCase
	// services are the port's, if not the usual ones.
	services []conntrack.Service
	// differs says of cases by their names why nf_conntrack's helper does
	// otherwise.
	differs map[string]string
}

var allHelperCases = []helperCases{ftpCases, tftpCases, ircCases, amandaCases, sipCases, sipStreamCases, otherPortCases, noHelperCases}

// RunHelpers puts the sequences of all helpers through new engines, which must
// have their helpers at work.
func RunHelpers(t *testing.T, begin func(*testing.T, conntrack.Config) Engine) {
	for _, list := range allHelperCases {
		t.Run(list.String(), func(t *testing.T) {
			for _, c := range list.cases {
				t.Run(c.name, func(t *testing.T) {
					steps, err := helperScript(list.proto, list.port, c.script)
					if err != nil {
						t.Fatal(err)
					}
					runSteps(t, begin(t, conntrack.Config{PickUp: true, Services: list.services}), steps)
				})
			}
		})
	}
}

func (l *helperCases) String() string {
	proto := "tcp"
	if l.proto == packet.ProtoUDP {
		proto = "udp"
	}
	return fmt.Sprintf("%s at %s %d", l.helper, proto, l.port)
}

// helperScript reads a sequence whose control connection runs from o:40000 to
// r's port. Steps are separated by "·":
//
//	open                 TCP's handshake
//	o"text"              a control packet of o, with its state, EST if there is none; quoted as
//	                     in Go; "!" behind the text: a rule drops it
//	o:FA                 a segment of the control connection without data, EST
//	-5 o"text"           a segment that begins 5 bytes before the next one; +5: after a gap
//	r:20>1025 S REL      a segment from r's port 20 to port 1025 of the other
//	                     side, with its state; "!" behind the flags: a rule drops it
//	r:20>1025 udp REL    a datagram
//	r:20>1025"text" REL  one that says something
//
// In place of a quoted text <message> is one of SIP (see sipMessage). There are
// also pauses and v6, as in Script. x is a stranger who talks to o.
func helperScript(proto uint8, port uint16, text string) ([]Step, error) {
	f := helperTalk{
		script: script{next: map[byte]uint32{'o': 1001, 'r': 5001}}, proto: proto, port: port,
	}
	var steps []Step
	for _, part := range strings.Split(text, "·") {
		part = strings.TrimSpace(part)
		if part == "v6" {
			f.v6 = true
			continue
		}
		if part == "open" {
			steps = append(steps,
				f.control('o', 1000, 0, "S", "", packet.StateNew),
				f.control('r', 5000, 1001, "SA", "", packet.StateEstablished),
				f.control('o', 1001, 5001, "A", "", packet.StateEstablished))
			continue
		}
		step, err := f.step(part)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

type helperTalk struct {
	script
	proto uint8
	port  uint16 // of r
}

func (f *helperTalk) step(text string) (Step, error) {
	back := 0
	if move, rest, ok := strings.Cut(text, " "); ok && (move[0] == '-' || move[0] == '+') {
		n, err := strconv.Atoi(move)
		if err != nil {
			return Step{}, err
		}
		back, text = n, rest
	}
	if strings.HasPrefix(text, "+") {
		d, err := time.ParseDuration(text[1:])
		return Step{Text: text, Pause: d}, err
	}
	if before, after, ok := strings.Cut(text, "<"); ok && !strings.Contains(before, `"`) {
		message, rest, _ := strings.Cut(after, ">")
		said, err := f.sipMessage(text[0], message)
		if err != nil {
			return Step{}, err
		}
		text = before + strconv.Quote(said) + rest
	}
	if len(text) > 2 && text[1] == '"' {
		return f.say(text, back)
	}
	if from, flags, ok := strings.Cut(text, ":"); ok && flagSet(flags) != 0 && !strings.Contains(flags, ">") {
		to := 'o' + 'r' - from[0]
		return f.control(from[0], f.next[from[0]], f.next[to], flags, "", packet.StateEstablished), nil
	}
	if before, _, ok := strings.Cut(text, `"`); ok {
		return f.sayElsewhere(text, before)
	}
	return f.data(text)
}

// say reads `o"text" EST`.
func (f *helperTalk) say(text string, back int) (Step, error) {
	end := strings.LastIndexByte(text, '"')
	data, err := strconv.Unquote(text[1 : end+1])
	if err != nil {
		return Step{}, fmt.Errorf("quoted text: %w", err)
	}
	name, drop := strings.CutPrefix(text[end+1:], "!")
	want, ok := states[strings.TrimSpace(name)]
	if !ok {
		want = packet.StateEstablished
	}
	from, to := text[0], byte('r')
	if from == 'r' {
		to = 'o'
	}
	seq := f.next[from] + uint32(back)
	f.next[from] = seq + uint32(len(data))
	step := f.control(from, seq, f.next[to], "PA", data, want)
	step.Drop = drop
	return step, nil
}

// sayElsewhere reads `r:20>1025"text" REL`, of which before is what comes in
// front of the text.
func (f *helperTalk) sayElsewhere(text, before string) (Step, error) {
	var from byte
	var srcPort, dstPort uint16
	if _, err := fmt.Sscanf(before, "%c:%d>%d", &from, &srcPort, &dstPort); err != nil {
		return Step{}, err
	}
	end := strings.LastIndexByte(text, '"')
	data, err := strconv.Unquote(text[len(before) : end+1])
	if err != nil {
		return Step{}, fmt.Errorf("quoted text: %w", err)
	}
	want, ok := states[strings.TrimSpace(text[end+1:])]
	if !ok {
		want = packet.StateEstablished
	}
	body := append(udp(srcPort, dstPort, 0, 8+len(data)), data...)
	return Step{Text: text, State: want, Out: from == 'o', Frame: f.frame(from, packet.ProtoUDP, body)}, nil
}

// control is a packet of the control connection.
func (f *helperTalk) control(from byte, seq, ack uint32, flags, data string, want packet.State) Step {
	srcPort, dstPort := uint16(40000), f.port
	if from == 'r' {
		srcPort, dstPort = dstPort, srcPort
	}
	s := tcp{srcPort: srcPort, dstPort: dstPort, seq: seq, ack: ack, window: 8192, flags: flagSet(flags)}
	body := append(s.bytes(), data...)
	if f.proto == packet.ProtoUDP {
		flags = "udp"
		body = append(udp(srcPort, dstPort, 0, 8+len(data)), data...)
	}
	return Step{
		Text: fmt.Sprintf("%c:%s %q", from, flags, data), State: want, Out: from == 'o',
		Frame: f.frame(from, f.proto, body),
	}
}

// data reads "r:20>1025 S REL" and "r:20>1025 udp REL".
func (f *helperTalk) data(text string) (Step, error) {
	var from byte
	var srcPort, dstPort uint16
	var flags, state string
	if _, err := fmt.Sscanf(text, "%c:%d>%d %s %s", &from, &srcPort, &dstPort, &flags, &state); err != nil {
		return Step{}, err
	}
	name, drop := strings.CutSuffix(flags, "!")
	if states[state] == 0 {
		return Step{}, fmt.Errorf("unknown state %q", state)
	}
	if name == "udp" {
		return Step{
			Text: text, State: states[state], Drop: drop, Out: from == 'o',
			Frame: f.frame(from, packet.ProtoUDP, udp(srcPort, dstPort, 0, 8)),
		}, nil
	}
	s := tcp{srcPort: srcPort, dstPort: dstPort, seq: 70000, window: 8192, flags: flagSet(name)}
	switch name {
	case "SA":
		s.seq, s.ack = 80000, 70001
	case "A":
		s.seq, s.ack = 70001, 80001
	}
	return Step{
		Text: text, State: states[state], Drop: drop, Out: from == 'o',
		Frame: f.frame(from, packet.ProtoTCP, s.bytes()),
	}, nil
}

func (f *helperTalk) frame(from, proto uint8, body []byte) []byte {
	to := "o"
	if from == 'o' {
		to = "r"
	}
	p := ip{v6: f.v6, src: f.address(string(from)), dst: f.address(to), proto: proto, hopLimit: 64, payload: body}
	return ethernet(f.v6, p.bytes())
}

func flagSet(names string) (set uint8) {
	for _, name := range names {
		set |= flagBits[name]
	}
	return set
}
