package conntrack_test

import (
	"fmt"
	"testing"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// A test run in the kernel does not take frames as long as these.
func TestSCTPChunksAreBounded(t *testing.T) {
	for chunks, want := range map[int]packet.State{4096: packet.StateNew, 4097: packet.StateInvalid} {
		// The first packet has the known tag, the second brings many chunks.
		list := packets(t, fmt.Sprintf("o:sctp(9,heartbeat) NEW · o:sctp(9,%d×sack) NEW", chunks))
		table := conntrack.NewTable(conntrack.Config{})
		for i := range list {
			if err := table.Commit(table.Classify(&list[i])); err != nil {
				t.Fatal(err)
			}
		}
		if got := list[1].State; got != want {
			t.Errorf("%d chunks: state %d, want %d", chunks, got, want)
		}
	}
}
