// Package policytest reads policy tests, files that hold filters, a binding and
// frames with the verdict they must get, and runs them on the evaluator and on
// the eBPF program.
package policytest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"tapgate/nwfilter"
)

// Version is the version of the format. A file without "version" is of
// version 1.
const Version = 1

// Test is one file: filters, a binding, and packets or an expected error.
type Test struct {
	Version int    `json:"version,omitempty"`
	Name    string `json:"name"`
	// Lenient reads the filters as libvirt does; see nwfilter.Options.
	Lenient bool `json:"lenient,omitempty"`
	// Filters are documents beyond the built-in ones, in order.
	Filters     []string     `json:"filters"`
	Environment *Environment `json:"environment,omitempty"`
	Binding     Binding      `json:"binding"`
	// ExpectError stands instead of Sequences.
	ExpectError *ExpectError `json:"expect_error,omitempty"`
	Sequences   []Sequence   `json:"sequences,omitempty"`

	// Path is the file that the test was read from.
	Path string `json:"-"`
}

// Environment is what the filters need of the host.
type Environment struct {
	IPSets []IPSet `json:"ipsets,omitempty"`
}

// IPSet is a kernel set.
type IPSet struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Family is "inet", also if empty, or "inet6".
	Family  string   `json:"family,omitempty"`
	Members []string `json:"members"`
}

// Binding is what is bound: a filter, the guest's MAC address and parameters.
type Binding struct {
	MAC        MAC                  `json:"mac"`
	Filter     string               `json:"filter"`
	Parameters []nwfilter.Parameter `json:"parameters,omitempty"`
}

const definePrefix = "define "

// ExpectError says where the filters must be refused. The text of the error is
// free.
type ExpectError struct {
	// Stage is "define NAME" or "bind".
	Stage string `json:"stage"`
	// Libvirt is what libvirt said, for information.
	Libvirt string `json:"libvirt,omitempty"`
}

// Sequence is a run of packets that begins with an empty connection table, and with
// nothing learned. If any packet says what is Learned, the verdicts are what Tapgate
// is to give, and not a recording: no difference to libvirt explains another one.
type Sequence struct {
	Note string `json:"note,omitempty"`
	// Fragments is set where the frames are fragments of one datagram, so
	// that a recorded "pass" may have come out later than the frame went in.
	Fragments bool     `json:"fragments,omitempty"`
	Packets   []Packet `json:"packets"`
}

// Packet is one frame and what must become of it.
type Packet struct {
	Dir Direction `json:"dir"`
	// Frame is a whole Ethernet frame, 802.1Q tags in place, no FCS.
	Frame  Frame  `json:"frame"`
	Note   string `json:"note,omitempty"`
	Expect Expect `json:"expect"`
	// After is how long nothing happened before the packet, in the notation of
	// time.ParseDuration.
	After Duration `json:"after,omitempty"`
	// Learned are the addresses that are known of the guest after the packet, where
	// the binding does not give them; left out, they are not looked at. An empty list
	// says that none is known.
	Learned []string `json:"learned,omitzero"`
	// LibvirtWithoutHelper is libvirt's verdict where it needs a helper rule by
	// hand to reach Expect, for information.
	LibvirtWithoutHelper Expect `json:"libvirt_without_helper,omitempty"`
	// Reply are frames that a reject sent back, for information.
	Reply []Frame `json:"reply,omitempty"`
}

// Direction is "out", sent by the guest, or "in".
type Direction string

// Expect is "pass" or "drop"; a reject counts as a drop.
type Expect string

// Duration is a time.Duration as text: "90s", "2h".
type Duration time.Duration

// MAC is a hardware address as text.
type MAC net.HardwareAddr

// Frame is a frame in hexadecimal digits.
type Frame []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Direction) UnmarshalText(b []byte) error {
	if s := string(b); s != "in" && s != "out" {
		return fmt.Errorf(`the direction of a packet is "in" or "out", not %q`, s)
	}
	*d = Direction(b)
	return nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Expect) UnmarshalText(b []byte) error {
	if s := string(b); s != "pass" && s != "drop" {
		return fmt.Errorf(`the expected verdict is "pass" or "drop", not %q`, s)
	}
	*e = Expect(b)
	return nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	parsed, err := time.ParseDuration(string(b))
	if err != nil || parsed < 0 {
		return fmt.Errorf(`%q is no time: expected one such as "90s" or "2h"`, b)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(b []byte) error {
	mac, err := net.ParseMAC(string(b))
	if err != nil || len(mac) != 6 {
		return fmt.Errorf("%q is no MAC address: expected six groups such as 52:54:00:00:00:01", b)
	}
	*m = MAC(mac)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) { return []byte(net.HardwareAddr(m).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Frame) UnmarshalText(b []byte) error {
	frame := make([]byte, hex.DecodedLen(len(b)))
	if _, err := hex.Decode(frame, b); err != nil {
		return fmt.Errorf("a frame is an even number of hexadecimal digits: %w", err)
	}
	*f = frame
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (f Frame) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, f), nil }

// Parse reads one test. It knows no members beyond the format's own: a
// misspelt one is an error.
func Parse(src []byte) (*Test, error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	t := &Test{}
	if err := d.Decode(t); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the test")
	}
	return t, t.check()
}

func (t *Test) check() error {
	switch {
	case t.Version != 0 && t.Version != Version:
		return fmt.Errorf("the test has format version %d; this program knows version %d", t.Version, Version)
	case t.Binding.Filter == "":
		return fmt.Errorf(`the test binds no filter: "binding" needs "filter"`)
	case len(t.Binding.MAC) == 0:
		return fmt.Errorf(`the test has no guest: "binding" needs "mac"`)
	case t.ExpectError == nil && len(t.Sequences) == 0:
		return fmt.Errorf(`the test tests nothing: expected "sequences" or "expect_error"`)
	case t.ExpectError != nil && len(t.Sequences) > 0:
		return fmt.Errorf(`"sequences" and "expect_error" exclude each other`)
	}
	if e := t.ExpectError; e != nil && e.Stage != "bind" && !strings.HasPrefix(e.Stage, definePrefix) {
		return fmt.Errorf(`the stage of an error is "define NAME" or "bind", not %q`, e.Stage)
	}
	for i, s := range t.Sequences {
		if len(s.Packets) == 0 {
			return fmt.Errorf("sequence %d (%s) has no packets", i+1, s.Note)
		}
		for k, p := range s.Packets {
			if p.Dir == "" || p.Expect == "" || len(p.Frame) == 0 {
				return fmt.Errorf(`sequence %d packet %d: a packet needs "dir", "frame" and "expect"`, i+1, k+1)
			}
			for _, text := range p.Learned {
				if canonical(text) == "" {
					return fmt.Errorf("sequence %d packet %d: what is learned are addresses and prefixes, not %q", i+1, k+1, text)
				}
			}
		}
	}
	return nil
}

// Packets is the number of packets; a test of an error counts as one.
func (t *Test) Packets() int {
	if t.ExpectError != nil {
		return 1
	}
	n := 0
	for _, s := range t.Sequences {
		n += len(s.Packets)
	}
	return n
}
