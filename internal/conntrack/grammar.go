package conntrack

import (
	"fmt"
	"slices"
	"strings"
)

// delimiter is the symbol beyond the byte values: whatever byte the line chose
// as its delimiter (actDelimiter). It goes before the byte's own meaning.
const delimiter = 256

const symbols = 257

const (
	digits    = "0123456789"
	hexDigits = digits + "abcdefABCDEF"
)

// visible are the printable ASCII characters without the digits and the space:
// what a line may choose as its delimiter.
func visible() string {
	var s []byte
	for c := byte('!'); c <= '~'; c++ {
		if c < '0' || c > '9' {
			s = append(s, c)
		}
	}
	return string(s)
}

// grammar is an automaton in the making: a row of transitions for each state,
// which belongs to a speech.
type grammar struct {
	rows     [][symbols]step
	speeches []speech // of each state
}

// speech is a part of a grammar that has states of its own, for one direction or
// for both.
type speech struct {
	start, skip state
	lines       bool // a line feed starts the next line; else nothing but the next datagram does
}

// lines adds the first two states of a speech in lines; it returns the one in
// which they start.
func (g *grammar) lines() state { return g.speech(true) }

// message adds the first two states of a speech in datagrams.
func (g *grammar) message() state { return g.speech(false) }

func (g *grammar) speech(lines bool) state {
	start := state(len(g.rows))
	t := speech{start: start, skip: start + 1, lines: lines}
	g.add(t)
	g.add(t)
	return start
}

// add adds a state. Unless a rule says otherwise any byte leads to where the
// rest is skipped, and a line feed starts the next line.
func (g *grammar) add(t speech) state {
	if len(g.rows) == automatonStates {
		panic("conntrack: grammar with too many states")
	}
	var row [symbols]step
	for i := range row {
		row[i] = step{next: t.skip}
	}
	if t.lines {
		row['\n'] = step{next: t.start, do: actLine}
	}
	g.rows = append(g.rows, row)
	g.speeches = append(g.speeches, t)
	return state(len(g.rows) - 1)
}

// then adds a state to the speech of from.
func (g *grammar) then(from state) state { return g.add(g.speeches[from]) }

// skip is where the speech of a state skips what it does not understand.
func (g *grammar) skip(of state) state { return g.speeches[of].skip }

// on leads each of the characters from one state to another.
func (g *grammar) on(from state, chars string, to state, do action) {
	for _, c := range []byte(chars) {
		g.rows[from][c] = step{to, do}
	}
}

// onDelimiter leads the line's delimiter from one state to another.
func (g *grammar) onDelimiter(from, to state, do action) {
	g.rows[from][delimiter] = step{to, do}
}

// others leads every byte but these and the line feed.
func (g *grammar) others(from state, but string, to state) {
	for c := range 256 {
		if c != '\n' && strings.IndexByte(but, byte(c)) < 0 {
			g.rows[from][c] = step{next: to}
		}
	}
}

// end completes an announcement in from at any byte but a digit.
func (g *grammar) end(from state) {
	for c := range 256 {
		if c < '0' || c > '9' {
			g.rows[from][c].do = actAnnounce
		}
	}
}

// word reads a text in either case; texts that are read from one state may
// share their beginning. Its last byte does the action.
func (g *grammar) word(from state, text string, do action) state {
	return g.text(from, text, do, true)
}

// exact reads a text as it is written.
func (g *grammar) exact(from state, text string, do action) state {
	return g.text(from, text, do, false)
}

func (g *grammar) text(at state, text string, do action, anyCase bool) state {
	for i, c := range []byte(text) {
		next := g.rows[at][c].next
		if t := g.speeches[at]; next == t.start || next == t.skip {
			next = g.then(at)
		}
		last := actNone
		if i == len(text)-1 {
			last = do
		}
		g.on(at, string(c), next, last)
		if anyCase && c >= 'A' && c <= 'Z' {
			g.on(at, string(c|0x20), next, last)
		}
		at = next
	}
	return at
}

// search finds the first of the texts, as they are written, wherever it
// stands. It returns the states behind them; the last bytes do the action.
func (g *grammar) search(from state, do action, texts ...string) (behind []state) {
	at := map[string]state{"": from} // by what has been read of the texts
	for _, text := range texts {
		for n := range len(text) {
			if _, ok := at[text[:n+1]]; !ok {
				at[text[:n+1]] = g.then(from)
			}
		}
		behind = append(behind, at[text])
	}
	for read, s := range at {
		if slices.Contains(texts, read) {
			continue
		}
		for c := range 256 {
			now := read + string([]byte{byte(c)})
			next, ok := at[now]
			for ; !ok; next, ok = at[now] {
				now = now[1:]
			}
			g.rows[s][c] = step{next: next}
			if slices.Contains(texts, now) {
				g.rows[s][c].do = do
			}
		}
	}
	return behind
}

// number reads one or more digits from a state on; it returns the state in
// which they may end.
func (g *grammar) number(from state, digit action) state {
	n := g.then(from)
	g.on(from, digits, n, digit)
	g.on(n, digits, n, digit)
	return n
}

// octets reads a dotted (or comma-separated) IPv4 address up to the last
// octet, which the caller ends with actOctet.
func (g *grammar) octets(from state, separator string) state {
	for range 3 {
		next := g.then(from)
		g.on(g.number(from, actOctetDigit), separator, next, actOctet)
		from = next
	}
	return g.number(from, actOctetDigit)
}

// ipv6 reads the text form of an IPv6 address (RFC 4291 section 2.2, without
// the form that ends in a dotted quad) up to the delimiter, which leads to the
// state it returns.
func (g *grammar) ipv6(from state) state {
	colon, gap, tail, end := g.then(from), g.then(from), g.then(from), g.then(from)
	g.on(from, ":", colon, actNone)
	g.on(colon, ":", gap, actNone)

	again := g.then(from) // behind "group:"
	g.on(again, ":", gap, actNone)
	group := g.group(from, again)
	for _, h := range group {
		g.on(h, ":", again, actGroup)
		g.onDelimiter(h, end, actLastGroup)
	}
	g.onDelimiter(gap, end, actNone)
	for _, h := range g.group(gap, tail) {
		g.on(h, ":", tail, actTailGroup)
		g.onDelimiter(h, end, actTailGroup)
	}
	return end
}

// group reads one to four hexadecimal digits from either state on; it returns
// the states in which they may end.
func (g *grammar) group(from, again state) (ends [4]state) {
	for i := range ends {
		ends[i] = g.then(from)
	}
	g.on(from, hexDigits, ends[0], actHexDigit)
	g.on(again, hexDigits, ends[0], actHexDigit)
	for i := range 3 {
		g.on(ends[i], hexDigits, ends[i+1], actHexDigit)
	}
	return ends
}

// compile fills in the automaton's tables: bytes that no state tells apart get
// the same class.
func (g *grammar) compile(a Automaton) *Automaton {
	for i, start := range a.start {
		a.skip[i] = g.skip(start)
	}
	var columns []int // a symbol of each class
	classOf := func(symbol int) uint8 {
		for class, c := range columns {
			if class > 0 && g.sameColumn(c, symbol) {
				return uint8(class)
			}
		}
		if len(columns) == automatonClasses {
			panic(fmt.Sprintf("conntrack: grammar with more than %d classes", automatonClasses))
		}
		columns = append(columns, symbol)
		return uint8(len(columns) - 1)
	}
	classOf(delimiter)
	for c := range 256 {
		a.classes[c] = classOf(c)
	}
	for s, row := range g.rows {
		for class, symbol := range columns {
			a.steps[s][class] = row[symbol]
		}
	}
	return &a
}

func (g *grammar) sameColumn(a, b int) bool {
	for _, row := range g.rows {
		if row[a] != row[b] {
			return false
		}
	}
	return true
}
