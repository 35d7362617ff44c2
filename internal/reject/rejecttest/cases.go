// Package rejecttest holds rejected packets and their answers, byte for byte:
// the evaluator's side and the eBPF program must both give them.
package rejecttest

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"tapgate/internal/packet"
)

// Case is a packet that a rule rejects.
type Case struct {
	Name string
	// Out is set if the guest sends it.
	Out bool
	// Text is the packet in the notation of packet.FromText, or in hexadecimal.
	Text  string
	Frame []byte
	// Answer is nil if the packet must not be answered.
	Answer []byte
}

// Guest is the MAC address of the port's guest, Peer that of the other end.
var (
	Guest = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x01}
	Peer  = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}
)

// A case is three lines: name, direction and packet, the answer in hexadecimal
// or "no answer".
//
//go:embed cases.txt
var cases string

const noAnswer = "no answer"

// Cases reads them.
func Cases() ([]Case, error) {
	var all []Case
	for i, text := range strings.Split(strings.TrimSpace(cases), "\n\n") {
		c, err := parse(strings.Split(text, "\n"))
		if err != nil {
			return nil, fmt.Errorf("cases.txt, case %d: %w", i+1, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func parse(lines []string) (c Case, err error) {
	if len(lines) < 2 {
		return c, fmt.Errorf("%d lines", len(lines))
	}
	direction, text, _ := strings.Cut(lines[1], " ")
	c = Case{Name: lines[0], Out: direction == "out", Text: text}
	ends := packet.Ends{Src: Peer, Dst: Guest}
	if c.Out {
		ends = packet.Ends{Src: Guest, Dst: Peer}
	}
	if c.Frame, err = packet.FromText(text, ends); err != nil || len(lines) < 3 || lines[2] == noAnswer {
		return c, err
	}
	c.Answer, err = hex.DecodeString(lines[2])
	return c, err
}

// Format writes cases as Cases reads them.
func Format(all []Case) string {
	var b strings.Builder
	for _, c := range all {
		direction, answer := "in", noAnswer
		if c.Out {
			direction = "out"
		}
		if c.Answer != nil {
			answer = hex.EncodeToString(c.Answer)
		}
		fmt.Fprintf(&b, "%s\n%s %s\n%s\n\n", c.Name, direction, c.Text, answer)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
