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

// FTPCase is a control connection and what it announces. The engine must have
// its FTP helper at work.
type FTPCase struct {
	Name   string
	Script string
}

// RunFTP puts all cases through new engines.
func RunFTP(t *testing.T, begin func(*testing.T, conntrack.Config) Engine) {
	for _, c := range ftpCases {
		t.Run(c.Name, func(t *testing.T) {
			steps, err := ftpScript(c.Script)
			if err != nil {
				t.Fatal(err)
			}
			runSteps(t, begin(t, conntrack.Config{PickUp: true}), steps)
		})
	}
}

// ftpScript reads a sequence whose control connection runs from o:40000 to
// r:21. Steps are separated by "·":
//
//	open                 the handshake
//	o"text"              a data segment of o, accepted as EST; quoted as in Go
//	-5 o"text"           the same, beginning 5 bytes before the next one; +5: after a gap
//	r:20>1025 S REL      a segment from r's port 20 to port 1025 of the other
//	                     side, with its state; "!" behind the flags: a rule drops it
//
// and what Script knows: pauses and v6. x is a stranger who talks to o.
func ftpScript(text string) ([]Step, error) {
	f := ftpTalk{script: script{next: map[byte]uint32{'o': 1001, 'r': 5001}}}
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

type ftpTalk struct{ script }

func (f *ftpTalk) step(text string) (Step, error) {
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
	if len(text) > 2 && text[1] == '"' {
		data, err := strconv.Unquote(text[1:])
		if err != nil {
			return Step{}, fmt.Errorf("quoted text: %w", err)
		}
		from, to := text[0], byte('r')
		if from == 'r' {
			to = 'o'
		}
		seq := f.next[from] + uint32(back)
		f.next[from] = seq + uint32(len(data))
		return f.control(from, seq, f.next[to], "PA", data, packet.StateEstablished), nil
	}
	return f.data(text)
}

// control is a segment of the control connection.
func (f *ftpTalk) control(from byte, seq, ack uint32, flags, data string, want packet.State) Step {
	srcPort, dstPort := uint16(40000), uint16(21)
	if from == 'r' {
		srcPort, dstPort = dstPort, srcPort
	}
	s := tcp{srcPort: srcPort, dstPort: dstPort, seq: seq, ack: ack, window: 8192, flags: flagSet(flags)}
	return Step{
		Text: fmt.Sprintf("%c:%s %q", from, flags, data), State: want, Out: from == 'o',
		Frame: f.frame(from, append(s.bytes(), data...)),
	}
}

// data reads "r:20>1025 S REL".
func (f *ftpTalk) data(text string) (Step, error) {
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
	s := tcp{srcPort: srcPort, dstPort: dstPort, seq: 70000, window: 8192, flags: flagSet(name)}
	switch name {
	case "SA":
		s.seq, s.ack = 80000, 70001
	case "A":
		s.seq, s.ack = 70001, 80001
	}
	return Step{
		Text: text, State: states[state], Drop: drop, Out: from == 'o',
		Frame: f.frame(from, s.bytes()),
	}, nil
}

func (f *ftpTalk) frame(from byte, segment []byte) []byte {
	to := "o"
	if from == 'o' {
		to = "r"
	}
	p := ip{v6: f.v6, src: f.address(string(from)), dst: f.address(to), proto: packet.ProtoTCP, hopLimit: 64, payload: segment}
	return ethernet(f.v6, p.bytes())
}

func flagSet(names string) (set uint8) {
	for _, name := range names {
		set |= flagBits[name]
	}
	return set
}
