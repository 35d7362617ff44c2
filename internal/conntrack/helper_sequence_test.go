package conntrack_test

import (
	"testing"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
)

type helperEngine struct {
	engine
	streams *conntrack.Streams
}

func (e helperEngine) Judge(t *testing.T, frame []byte, out bool, now int64, accept bool) (packet.State, packet.Direction) {
	t.Helper()
	p := packet.Decode(frame, out)
	p.Now = now
	pending := e.table.Classify(&p)
	if accept {
		if err := e.table.Commit(pending); err != nil {
			t.Fatal(err)
		}
		e.streams.Watch(&p)
	}
	return p.State, p.Direction
}

func TestHelperSequences(t *testing.T) {
	conntracktest.RunHelpers(t, func(_ *testing.T, config conntrack.Config) conntracktest.Engine {
		table := conntrack.NewTable(config)
		return helperEngine{engine{table}, conntrack.NewStreams(table)}
	})
}
