package datapath

import (
	"fmt"
	"strings"
	"testing"

	"tapgate/internal/packet"
)

// repeat writes a rule n times: %[1]d is i, %[2]d 2i+1, %[3]d 5i.
func repeat(n int, rule string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, rule+"\n", i, 2*i+1, 5*i)
	}
	return b.String()
}

// Runs of clauses that are searched decide and count at every value as clauses
// that are tested one by one: the evaluator tells.
func TestRunsOfClauses(t *testing.T) {
	needRoot(t)
	for _, test := range []struct{ name, chain, rules string }{
		{"single addresses with the same rest", "root", repeat(100, `<rule action="drop" direction="in"><tcp srcipaddr="10.0.0.%[2]d" dstportstart="80"/></rule>`)},
		{"states behind the search", "root", repeat(100, `<rule action="accept" direction="in"><tcp srcipaddr="10.0.0.%[2]d"/></rule>`) + `<rule action="drop" direction="in"><all/></rule>`},
		{"repeated and of different rests", "root", repeat(60, `<rule action="drop" direction="in"><tcp srcipaddr="10.0.0.%[2]d" dstportstart="80"/></rule><rule action="accept" direction="in"><tcp srcipaddr="10.0.0.%[2]d" dstportstart="81"/></rule>`)},
		{"ranges that overlap", "root", repeat(40, `<rule action="reject" direction="in" statematch="false"><all srcipfrom="10.0.0.%[3]d" srcipto="10.0.0.2%02[1]d"/></rule><rule action="accept" direction="in" statematch="false"><all srcipfrom="10.0.0.%[2]d" srcipto="10.0.0.%[3]d"/></rule>`)},
		{"ranges with gaps", "root", repeat(50, `<rule action="drop" direction="in" statematch="false"><all srcipaddr="10.0.0.%[3]d" srcipmask="31"/></rule>`)},
		{"ports", "root", repeat(40, `<rule action="drop" direction="in" statematch="false"><tcp dstportstart="%[3]d" dstportend="%[3]d"/></rule>`)},
		{"chain that counts and returns", "ipv4", repeat(60, `<rule action="return" direction="in"><ip srcipaddr="10.0.0.%[2]d" protocol="tcp" dstportstart="80"/></rule>`) + `<rule action="drop" direction="in"/>`},
		{"chain that counts and goes on", "ipv4", repeat(60, `<rule action="continue" direction="in"><ip srcipaddr="10.0.0.%[2]d" protocol="tcp" dstportstart="80"/></rule>`) + `<rule action="drop" direction="in"/>`},
		{"MAC addresses under a mask", "root", repeat(60, `<rule action="drop" direction="in"><mac srcmacaddr="52:54:00:00:%02[1]d:00" srcmacmask="ff:ff:ff:ff:ff:c0"/></rule>`)},
		{"IPv6 prefixes", "root", repeat(60, `<rule action="drop" direction="in" statematch="false"><all-ipv6 srcipaddr="fd00:0:0:%[1]d::%[3]d" srcipmask="127"/></rule>`) +
			`<rule action="drop" direction="in" statematch="false"><all-ipv6 srcipaddr="fd00:0:0:20::" srcipmask="60"/></rule>`},
		{"IPv6 ranges", "root", repeat(12, `<rule action="drop" direction="in" statematch="false"><all-ipv6 srcipfrom="fd00:0:0:%[3]d::%[3]d" srcipto="fd00:0:0:%[3]d::%[3]d5"/></rule>`) +
			`<rule action="drop" direction="in" statematch="false"><all-ipv6 srcipfrom="fd00:0:0:1::5" srcipto="fd00:0:0:4::1"/></rule>`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := resolve(t, fmt.Sprintf(`<filter name="x" chain="%s">%s</filter>`, test.chain, test.rules))
			both := newEngines(t, p)
			defer both.tester.Close()
			counted := make([]uint64, len(p.Clauses))
			try := func(mac byte, format string, args ...any) {
				text := fmt.Sprintf(format, args...)
				frame, err := packet.FromText(text, packet.Ends{Src: []byte{0x52, 0x54, 0, 0, mac, 0x3f + mac%3}, Dst: guestMAC})
				if err != nil {
					t.Fatal(err)
				}
				evaluated, ran, r := both.run(t, frame, false, 1)
				if evaluated != ran {
					t.Errorf("%s: evaluator %+v, kernel %+v", text, evaluated, ran)
				}
				for _, c := range r.Matched {
					counted[c.ID]++
				}
			}
			for i := range 256 {
				try(byte(i), "tcp 10.0.0.%d:4000 > 10.0.0.1:%d syn", i, 80+i/64%3)
				try(byte(i), "tcp 10.0.0.9:4000 > 10.0.0.1:%d syn", i)
				for _, last := range []string{"0", "1", "2", fmt.Sprintf("%x", 5*i), fmt.Sprint(5*i + 1), fmt.Sprint(5 * i)} {
					try(byte(i), "udp [fd00:0:0:%d::%s]:4000 > [fd00::1]:%d", i%64, last, i)
				}
			}
			matched := 0
			for id, want := range counted {
				var perCPU []struct{ Packets, Bytes uint64 }
				if err := both.tester.pair.maps["clauses"].Lookup(uint32(id), &perCPU); err != nil {
					t.Fatal(err)
				}
				var packets uint64
				for _, c := range perCPU {
					packets += c.Packets
				}
				if packets != want {
					t.Errorf("clause %d (%s) counted %d packets, want %d", id, p.Clauses[id], packets, want)
				}
				if want > 0 {
					matched++
				}
			}
			if matched < 10 {
				t.Errorf("only %d clauses were met", matched)
			}
		})
	}
}
