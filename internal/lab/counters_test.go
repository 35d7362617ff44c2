package lab

import (
	"maps"
	"testing"
)

func TestCountersArePairsOfLines(t *testing.T) {
	got := map[string]uint64{}
	text := "Tcp: MaxConn ActiveOpens\nTcp: -1 7\nTcpExt: TCPSynRetrans\nTcpExt: 3\n"
	if err := addCounters(got, text); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"Tcp.ActiveOpens": 7, "TcpExt.TCPSynRetrans": 3}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, text := range []string{"Tcp: A B\nTcp: 1\n", "Tcp: A\nUdp: 1\n"} {
		if addCounters(got, text) == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
