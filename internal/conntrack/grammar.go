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
	letters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
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
	lines       bool  // a line feed starts the next line; else nothing but the next datagram does
	next        state // where that line starts
}

// lines adds the first two states of a speech in lines; it returns the one in
// which they start.
func (g *grammar) lines() state { return g.linesBefore(state(len(g.rows))) }

// linesBefore adds a speech of one line, behind which another speech follows.
func (g *grammar) linesBefore(next state) state { return g.speech(speech{lines: true, next: next}) }

// message adds the first two states of a speech in datagrams.
func (g *grammar) message() state { return g.speech(speech{}) }

func (g *grammar) speech(t speech) state {
	t.start = state(len(g.rows))
	t.skip = t.start + 1
	g.add(t)
	g.add(t)
	return t.start
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
		row['\n'] = step{next: t.next, do: actLine}
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

// ends completes a number in from at any byte but a digit.
func (g *grammar) ends(from state, do action) {
	for c := range 256 {
		if c < '0' || c > '9' {
			g.rows[from][c].do = do
		}
	}
}

// completing does an action at any of the characters, wherever they lead.
func (g *grammar) completing(from state, chars string, do action) {
	for _, c := range []byte(chars) {
		g.rows[from][c].do = do
	}
}

// entering does an action wherever something leads to a state.
func (g *grammar) entering(to state, do action) {
	for s := range g.rows {
		for c := range g.rows[s] {
			if g.rows[s][c].next == to {
				g.rows[s][c].do = do
			}
		}
	}
}

// inherit reads what a state has no rule for as another state does.
func (g *grammar) inherit(to, from state) {
	t := g.speeches[to]
	for c := range symbols {
		switch g.rows[to][c] {
		case step{next: t.skip}, step{next: t.next, do: actLine}:
			g.rows[to][c] = g.rows[from][c]
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
	_, behind = g.find(from, texts, func(text string) string { return text })
	for _, s := range behind {
		g.entering(s, do)
	}
	return behind
}

// searchWord finds the first of the texts, which are in capitals, in either
// case. It returns the states that search and those behind the texts.
func (g *grammar) searchWord(from state, texts ...string) (searching, behind []state) {
	return g.find(from, texts, strings.ToUpper)
}

func (g *grammar) find(from state, texts []string, as func(string) string) (searching, behind []state) {
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
		searching = append(searching, s)
		for c := range 256 {
			if c == '\n' && g.speeches[s].lines {
				continue
			}
			now := read + as(string([]byte{byte(c)}))
			next, ok := at[now]
			for ; !ok; next, ok = at[now] {
				now = now[1:]
			}
			g.rows[s][c] = step{next: next}
		}
	}
	return searching, behind
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

// ipv6Ends are the states in which an IPv6 address may end: in a group in front
// of "::" or without it, right behind it, or in a group behind it.
type ipv6Ends struct {
	groups, tails [4]state
	gap           state
}

// each tells every end with the action for its sort.
func (e *ipv6Ends) each(group, gap, tail action, end func(state, action)) {
	for i := range e.groups {
		end(e.groups[i], group)
		end(e.tails[i], tail)
	}
	end(e.gap, gap)
}

// ipv6 reads the text form of an IPv6 address (RFC 4291 section 2.2, without
// the form that ends in a dotted quad).
func (g *grammar) ipv6(from state) *ipv6Ends {
	colon, gap, tail := g.then(from), g.then(from), g.then(from)
	g.on(from, ":", colon, actNone)
	g.on(colon, ":", gap, actNone)

	again := g.then(from) // behind "group:"
	g.on(again, ":", gap, actNone)
	e := &ipv6Ends{groups: g.group(from, again), tails: g.group(gap, tail), gap: gap}
	for i := range e.groups {
		g.on(e.groups[i], ":", again, actGroup)
		g.on(e.tails[i], ":", tail, actTailGroup)
	}
	return e
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
