package conntrack

import (
	"encoding/binary"
	"testing"
)

// Every line feed must start a line afresh, wherever it stands: hostile bytes
// may spoil the rest of their own line and nothing else.
func TestLineFeedEndsEveryLine(t *testing.T) {
	g := ftpGrammar()
	for s := range g.rows {
		got := g.rows[s]['\n']
		if want := state(g.side[s]) - 1; got.next != want {
			t.Errorf("state %d: line feed leads to state %d, want %d", s, got.next, want)
		}
		if got.do != actLine && got.do != actAnnounce {
			t.Errorf("state %d: line feed does action %d, which keeps what the line said", s, got.do)
		}
	}
}

func TestDirectionsShareNoState(t *testing.T) {
	g := ftpGrammar()
	for s, row := range g.rows {
		for c, step := range row {
			if g.side[step.next] != g.side[s] {
				t.Fatalf("state %d: symbol %#x leads to state %d of the other direction", s, c, step.next)
			}
		}
	}
}

func TestSkippedLinesDoNothing(t *testing.T) {
	g := ftpGrammar()
	for _, skip := range []state{skipOriginal, skipReply} {
		for c, got := range g.rows[skip] {
			if c != '\n' && got != (step{next: skip}) {
				t.Errorf("state %d: symbol %#x leads to %+v", skip, c, got)
			}
		}
	}
}

// compile must not lose a transition when it merges bytes into classes.
func TestCompiledTablesAreTheGrammar(t *testing.T) {
	g := ftpGrammar()
	a := g.compile()
	for s, row := range g.rows {
		for c := range 256 {
			if got := a.steps[s][a.classes[c]]; got != row[c] {
				t.Fatalf("state %d, byte %#x: %+v, the grammar says %+v", s, c, got, row[c])
			}
			if a.classes[c] == 0 {
				t.Fatalf("byte %#x has the class of the delimiter", c)
			}
		}
		if got := a.steps[s][0]; got != row[delimiter] {
			t.Fatalf("state %d, delimiter: %+v, the grammar says %+v", s, got, row[delimiter])
		}
	}
}

func TestTablesHaveTheLayoutOfTheProgram(t *testing.T) {
	tables := Tables()
	if len(tables) != 1 || len(tables[0]) != 256+2*automatonStates*automatonClasses {
		t.Fatalf("%d tables, the first of %d bytes", len(tables), len(tables[0]))
	}
	b := tables[0]
	if b['P'] != b['p'] || b['P'] == b['Q'] {
		t.Errorf("classes of P, p, Q: %d, %d, %d", b['P'], b['p'], b['Q'])
	}
	cell := 256 + 2*(int(skipReply)*automatonClasses+int(b['\n']))
	got := binary.NativeEndian.Uint16(b[cell:])
	if want := uint16(actLine)<<8 | uint16(lineReply); got != want {
		t.Errorf("line feed in state %d: %#x, want %#x", skipReply, got, want)
	}
}
