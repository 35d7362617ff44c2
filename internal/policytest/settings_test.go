package policytest

import (
	"net"
	"os"
	"testing"

	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// A test's binding may have settings, which hold on both engines.
func TestSettings(t *testing.T) {
	engine := Both
	if os.Geteuid() != 0 {
		engine = Eval
	}
	guest, peer := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}
	in := func(text string, expect Expect) Packet {
		frame, err := packet.FromText(text, packet.Ends{Src: peer, Dst: guest})
		if err != nil {
			t.Fatal(err)
		}
		return Packet{Dir: "in", Frame: frame, Expect: expect}
	}
	filter := `<filter name='f'>
	  <rule action='accept' direction='in'><all state='NEW,ESTABLISHED'/></rule>
	  <rule action='drop' direction='inout'><all/></rule>
	</filter>`
	test := Test{Filters: []string{filter}, Binding: Binding{MAC: MAC(guest), Filter: "f"}}
	for _, row := range []struct {
		parameter string
		value     string
		packets   []Packet
		refused   bool
	}{
		{"IP", "10.0.0.1", []Packet{in("tcp 10.0.0.2:1 > 10.0.0.1:80 ack", "pass"), in("udp 10.0.0.2:1 > 10.0.0.1:80", "pass")}, false},
		{"CTRL_TCP_PICK_UP", "no", []Packet{in("tcp 10.0.0.2:1 > 10.0.0.1:80 ack", "drop"), in("tcp 10.0.0.2:1 > 10.0.0.1:80 syn", "pass")}, false},
		{"CTRL_MAX_CONNECTIONS", "1", []Packet{in("udp 10.0.0.2:1 > 10.0.0.1:80", "pass"), in("udp 10.0.0.2:2 > 10.0.0.1:80", "drop")}, false},
		{"CTRL_MAX_CONNECTIONS", "many", nil, true},
		{"CTRL_MAX_CONNECTION", "1", nil, true},
	} {
		test.Binding.Parameters = []nwfilter.Parameter{{Name: row.parameter, Value: row.value}}
		test.Sequences, test.ExpectError = []Sequence{{Packets: row.packets}}, nil
		passed := len(row.packets)
		if row.refused {
			test.Sequences, test.ExpectError = nil, &ExpectError{Stage: "bind"}
			passed = 1
		}
		if r := RunFile(&test, engine); r.Passed != passed || r.Failed > 0 {
			t.Errorf("%s=%s: %+v", row.parameter, row.value, r)
		}
	}
}
