package conntrack

import (
	"encoding/binary"
	"testing"
)

// grammars are those of all helpers.
func grammars() map[string]*grammar {
	all := lineGrammars()
	all["sip"], _ = sipGrammar()
	return all
}

// lineGrammars are those whose lines have nothing to do with each other.
func lineGrammars() map[string]*grammar {
	ftp, _ := ftpGrammar()
	tftp, _ := tftpGrammar()
	irc, _ := ircGrammar()
	amanda, _ := amandaGrammar()
	return map[string]*grammar{"ftp": ftp, "tftp": tftp, "irc": irc, "amanda": amanda}
}

// Every line feed must start a line afresh, wherever it stands: hostile bytes
// may spoil the rest of their own line and nothing else.
func TestLineFeedEndsEveryLine(t *testing.T) {
	for name, g := range lineGrammars() {
		for s, row := range g.rows {
			if !g.speeches[s].lines {
				continue
			}
			got := row['\n']
			if want := g.speeches[s].start; got.next != want {
				t.Errorf("%s, state %d: line feed leads to state %d, want %d", name, s, got.next, want)
			}
			if got.do != actLine && got.do != actAnnounce {
				t.Errorf("%s, state %d: line feed does action %d, which keeps what the line said", name, s, got.do)
			}
		}
	}
}

func TestSpeechesShareNoState(t *testing.T) {
	for name, g := range lineGrammars() {
		for s, row := range g.rows {
			for c, step := range row {
				if g.speeches[step.next] != g.speeches[s] {
					t.Fatalf("%s, state %d: symbol %#x leads to state %d of another speech", name, s, c, step.next)
				}
			}
		}
	}
}

// Wherever a SIP message stands, behind a line that means nothing a line starts.
func TestLinesOfMessagesEnd(t *testing.T) {
	g, _ := sipGrammar()
	for s := range g.rows {
		at := state(s)
		for _, c := range "\n!\n" {
			at = g.rows[at][c].next
		}
		if at != g.speeches[at].start {
			t.Errorf("state %d: behind a line feed and another line it is %d", s, at)
		}
	}
}

func TestWhatIsSkippedDoesNothing(t *testing.T) {
	for name, g := range grammars() {
		for s := range g.rows {
			skip := g.skip(state(s))
			for c, got := range g.rows[skip] {
				if (c != '\n' || !g.speeches[s].lines) && got != (step{next: skip}) {
					t.Errorf("%s, state %d: symbol %#x leads to %+v", name, skip, c, got)
				}
			}
		}
	}
}

// compile must not lose a transition when it merges bytes into classes.
func TestCompiledTablesAreTheGrammar(t *testing.T) {
	for name, g := range grammars() {
		a := g.compile(Automaton{})
		for s, row := range g.rows {
			for c := range 256 {
				if got := a.steps[s][a.classes[c]]; got != row[c] {
					t.Fatalf("%s, state %d, byte %#x: %+v, the grammar says %+v", name, s, c, got, row[c])
				}
				if a.classes[c] == 0 {
					t.Fatalf("%s: byte %#x has the class of the delimiter", name, c)
				}
			}
			if got := a.steps[s][0]; got != row[delimiter] {
				t.Fatalf("%s, state %d, delimiter: %+v, the grammar says %+v", name, s, got, row[delimiter])
			}
		}
	}
}

// The program stops reading in the dead state.
func TestNothingLeadsOutOfTheDeadState(t *testing.T) {
	for _, h := range helpers[1:] {
		a := h.automaton
		if a.dead == noState {
			continue
		}
		for c, class := range a.classes {
			if got := a.steps[a.dead][class]; got != (step{next: a.dead}) {
				t.Errorf("%s: byte %#x leads from the dead state to %+v", h.name, c, got)
			}
		}
	}
}

// Slots of two kinds would take each other's place.
func TestKindsHaveSlotsOfTheirOwn(t *testing.T) {
	for _, h := range helpers[1:] {
		var taken [slotsOfStream]bool
		for i, k := range h.automaton.kinds {
			if k.slots > 0 && (k.lifetime == 0 || k.proto == 0 && k.flags&registering == 0) {
				t.Errorf("%s: kind %d is %+v", h.name, i, k)
			}
			for s := k.first; s < k.first+k.slots; s++ {
				if taken[s] {
					t.Errorf("%s: kind %d shares slot %d", h.name, i, s)
				}
				taken[s] = true
			}
		}
	}
}

func TestTablesHaveTheLayoutOfTheProgram(t *testing.T) {
	const header = 256 + 5*2 + 2 + 4 + automatonKinds*8
	b := Tables()
	if want := (len(helpers) - 1) * (header + 2*automatonStates*automatonClasses); len(b) != want {
		t.Fatalf("%d bytes, want %d", len(b), want)
	}
	if b['P'] != b['p'] || b['P'] == b['Q'] {
		t.Errorf("classes of P, p, Q: %d, %d, %d", b['P'], b['p'], b['Q'])
	}
	skip := ftp.skip[1]
	cell := header + 2*(int(skip)*automatonClasses+int(b['\n']))
	got := binary.NativeEndian.Uint16(b[cell:])
	if want := uint16(actLine)<<10 | uint16(ftp.start[1]); got != want {
		t.Errorf("line feed in state %d: %#x, want %#x", skip, got, want)
	}
}
