package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapgate/internal/conntrack"
	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// ip is an IPv4 address as keys have it.
func ip(text string) packet.U128 {
	b := netip.MustParseAddr(text).As4()
	return packet.U128{Lo: uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])}
}

// trackedConnections are one of each kind, and not in their order.
func trackedConnections() []*datapath.Connection {
	rule := &datapath.Clause{ID: 3, Name: "00000000000000ff", Direction: "in", Stage: "network", Text: "accept protocol=tcp dport=22",
		Origin: policy.Origin{Filter: "web", Pos: nwfilter.Position{File: "web.xml", Line: 2}}}
	return []*datapath.Connection{
		{
			Connection: conntrack.Connection{
				Key:     conntrack.Key{Family: 4, Proto: 6, A: ip("10.0.0.1"), APort: 22, B: ip("10.0.0.9"), BPort: 40000},
				OriginB: true, SeenReply: true, Assured: true, Created: 1e9, Packets: [2]uint64{7, 5}, Bytes: [2]uint64{700, 500},
				TCP: conntrack.TCP{State: conntrack.Established}, Admitted: 0xff,
			},
			Age: 90 * time.Second, Timeout: 5 * 24 * time.Hour, Rule: rule,
		},
		{
			Connection: conntrack.Connection{
				Key: conntrack.Key{Family: 4, Proto: 17, A: ip("10.0.0.1"), APort: 5000, B: ip("192.0.2.1"), BPort: 53},
				Out: true, SeenReply: true, Created: 3e9, Packets: [2]uint64{1, 1}, Bytes: [2]uint64{60, 80}, Admitted: 0xaa,
			},
			Age: 1500 * time.Millisecond, Timeout: 28500 * time.Millisecond,
		},
		{
			Connection: conntrack.Connection{
				Key: conntrack.Key{Family: 4, Proto: 1, A: ip("10.0.0.9"), APort: 7, B: ip("10.0.0.1"), BPort: 8 << 8}, Created: 2e9,
				Packets: [2]uint64{1, 0}, Bytes: [2]uint64{98, 0},
			},
			Age: 2 * time.Second, Timeout: 28 * time.Second,
		},
	}
}

func newConntrackSession(t *testing.T) *session {
	s := newSession(t)
	s.stats.Name, s.connections = "vnet0", trackedConnections()
	return s
}

func TestConntrack(t *testing.T) {
	s := newConntrackSession(t)
	out, _ := s.ok("conntrack vnet0")
	const want = `PROTO  ORIGINATOR      RESPONDER                    STATE                DIRECTION  AGE    TIMEOUT   PACKETS →  ←  BYTES →  ←    RULE
udp    10.0.0.1:5000   192.0.2.1:53                 replied              out        2s     29s       1          1  60       80   a rule that is no more
icmp   10.0.0.9        10.0.0.1 type 8 code 0 id 7  new                  in         2s     28s       1          0  98       0    no rule stopped it
tcp    10.0.0.9:40000  10.0.0.1:22                  ESTABLISHED assured  in         1m30s  120h0m0s  7          5  700      500  web.xml:2: accept protocol=tcp dport=22
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	out, _ = s.ok("conntrack vnet0 --limit 1")
	if !strings.Contains(out, "udp") || strings.Contains(out, "tcp") || !strings.HasSuffix(out, "\nand 2 older connections more\n") {
		t.Errorf("--limit 1: %q", out)
	}
	out, _ = s.ok("conntrack vnet0 --json --port 22")
	s.says(out, `"originator": {
      "address": "10.0.0.9",
      "port": 40000
    },`)
	s.says(out, `"timeout_seconds": 432000,`)
	s.says(out, `"name": "00000000000000ff",`)
	out, _ = s.ok("conntrack vnet0 --json --direction out")
	s.says(out, `"rule": null,
    "rule_gone": true
`)
	s.fails("conntrack vnet1", "tapgate: vnet1 is not guarded\n")
}

func TestConntrackFilters(t *testing.T) {
	s := newConntrackSession(t)
	for flags, want := range map[string]string{
		"":                                  "udp icmp tcp",
		"--proto tcp":                       "tcp",
		"--proto ICMP":                      "icmp",
		"--proto 17":                        "udp",
		"--proto 132":                       "",
		"--state new":                       "icmp",
		"--state replied":                   "udp tcp",
		"--state ASSURED":                   "tcp",
		"--state related":                   "",
		"--state established":               "tcp",
		"--state SYN_SENT":                  "",
		"--address 10.0.0.9":                "icmp tcp",
		"--address 192.0.0.0/16":            "udp",
		"--address fd00::/8":                "",
		"--port 53":                         "udp",
		"--port 7":                          "",
		"--direction in":                    "icmp tcp",
		"--direction out":                   "udp",
		"--direction in --address 10.0.0.9": "icmp tcp",
		"--direction in --proto tcp":        "tcp",
	} {
		out, _ := s.ok("conntrack vnet0 " + flags)
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
			got = append(got, strings.Fields(line)[0])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", flags, got, want)
		}
		if want == "" && out != "no connections\n" {
			t.Errorf("%s: %q", flags, out)
		}
	}
	for flags, fault := range map[string]string{
		"--proto tpc":          `--proto "tpc" is no protocol: expected icmp, tcp,`,
		"--proto 256":          `is no protocol`,
		"--state open":         `--state "open" is no state: expected new, replied, assured, related, SYN_SENT,`,
		"--address 10.0.0.":    `--address "10.0.0.": expected an address such as`,
		"--direction up":       `--direction "up": expected in or out`,
		"--limit 0":            `--limit 0 shows nothing`,
		"--limit 1 --flush":    `--flush shows none`,
		"--port 70000":         `"70000"`,
		"--expected --flush":   `--expected lists what is no connection yet`,
		"--expected --limit 3": `--expected lists what is no connection yet`,
		"--flush --address x":  `--address "x"`,
	} {
		code, _, stderr := s.run("conntrack vnet0 " + flags)
		if code != exitUsage || !strings.Contains(stderr, fault) {
			t.Errorf("%s: exit code %d, %q, want %q", flags, code, stderr, fault)
		}
	}
	if len(s.connections) != 3 {
		t.Errorf("%d connections are left", len(s.connections))
	}
}

// expectedOf is a control connection and what it announced: one connection that
// came, one that anyone may still open.
func expectedOf() (*datapath.Connection, *datapath.Expectation) {
	control := &datapath.Control{Connection: conntrack.Connection{
		Key: conntrack.Key{Family: 4, Proto: 6, A: ip("10.0.0.1"), APort: 4000, B: ip("10.0.0.2"), BPort: 21}, Helper: conntrack.FTP,
	}}
	c := &datapath.Connection{
		Connection: conntrack.Connection{
			Key:     conntrack.Key{Family: 4, Proto: 6, A: ip("10.0.0.1"), APort: 1025, B: ip("10.0.0.2"), BPort: 20},
			OriginB: true, Expected: true, Created: 4e9, TCP: conntrack.TCP{State: conntrack.SynSent}, Announced: conntrack.Announced{By: conntrack.FTP},
		},
		Control: control, Timeout: time.Minute,
	}
	return c, &datapath.Expectation{
		Helper: conntrack.FTP, Control: control, Proto: 6, To: netip.MustParseAddrPort("10.0.0.1:1026"), Timeout: 299 * time.Second,
	}
}

func TestConntrackExpected(t *testing.T) {
	s := newConntrackSession(t)
	c, e := expectedOf()
	out, _ := s.ok("conntrack vnet0 --expected")
	if out != "nothing is expected\n" {
		t.Errorf("%q", out)
	}
	s.connections, s.expectations = append(s.connections, c), append(s.expectations, e)
	out, _ = s.ok("conntrack vnet0 --state related")
	const related = `PROTO  ORIGINATOR   RESPONDER      STATE             DIRECTION  AGE  TIMEOUT  PACKETS →  ←  BYTES →  ←  RULE                EXPECTED BY
tcp    10.0.0.2:20  10.0.0.1:1025  SYN_SENT related  in         0s   1m0s     0          0  0        0  no rule stopped it  ftp 10.0.0.1:4000 > 10.0.0.2:21
`
	if diff := cmp.Diff(related, out); diff != "" {
		t.Error(diff)
	}
	out, _ = s.ok("conntrack vnet0 --expected")
	const expected = `PROTO  FROM    TO             TIMEOUT  EXPECTED BY
tcp    anyone  10.0.0.1:1026  4m59s    ftp 10.0.0.1:4000 > 10.0.0.2:21
`
	if diff := cmp.Diff(expected, out); diff != "" {
		t.Error(diff)
	}
	out, _ = s.ok("conntrack vnet0 --expected --proto udp --json")
	if out != "[]\n" {
		t.Errorf("%q", out)
	}
	out, _ = s.ok("conntrack vnet0 --expected --port 1026 --address 10.0.0.1 --json")
	s.says(out, `"timeout_seconds": 299,
    "expected_by": {
      "helper": "ftp",
      "originator": {
        "address": "10.0.0.1",
        "port": 4000
      },`)
	e.Control.Gone = true
	out, _ = s.ok("conntrack vnet0 --state related")
	s.says(out, "ftp between 10.0.0.1:4000 and 10.0.0.2:21, gone\n")
	out, _ = s.ok("conntrack vnet0 --state related --json")
	s.says(out, `"gone": true`)
	s.fails("conntrack vnet1 --expected", "tapgate: vnet1 is not guarded\n")
}

func TestConntrackFlush(t *testing.T) {
	s := newConntrackSession(t)
	for _, step := range []struct{ flags, want string }{
		{"--flush --direction out", "port vnet0: 1 connection flushed\n"},
		{"--flush --direction out", "port vnet0: 0 connections flushed\n"},
		{"--flush", "port vnet0: 2 connections flushed\n"},
		{"", "no connections\n"},
		{"--flush --json", "{\n  \"flushed\": 0\n}\n"},
		{"--json", "[]\n"},
	} {
		if out, _ := s.ok("conntrack vnet0 " + step.flags); out != step.want {
			t.Errorf("%s: %q, want %q", step.flags, out, step.want)
		}
	}
	s.fails("conntrack vnet1 --flush", "tapgate: vnet1 is not guarded\n")
}
