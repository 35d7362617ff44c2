package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"tapgate/internal/lab"
)

// printer writes the table as it grows. Colours only repeat what the words
// say.
type printer struct {
	w     io.Writer
	color bool
	// whatWidth is the width of the column for what is tried.
	whatWidth int
}

const (
	green = "\x1b[32m"
	red   = "\x1b[1;31m"
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

func (p *printer) paint(color, text string) string {
	if !p.color {
		return text
	}
	return color + text + plain
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

func (p *printer) introduce(l *lab.Lab, attempts []attempt) {
	for _, a := range attempts {
		p.whatWidth = max(p.whatWidth, utf8.RuneCountInString(a.what))
	}
	p.line("A throw-away network: a guest (%s, %s) and a neighbour (%s)", l.Guest.IPv4, l.Guest.MAC, l.Neighbour.IPv4)
	p.line("on a bridge, each in a network namespace. The guest's port is %s; \"in\" is what", l.Guest.Port)
	p.line("the guest receives, \"out\" what it sends. Guest: SSH, HTTP (%d and %d), FTP.", lab.HTTPPort, lab.HTTPSPort)
	p.line("Neighbour: DNS, a UDP echo on %d.", lab.EchoPort)
}

func (p *printer) begin(number int, s *Step) {
	title := fmt.Sprintf("%d. %s", number, s.Title)
	if s.Mechanism != "" {
		title += fmt.Sprintf(" (by %s, in force after %s)", s.Mechanism, seconds(s.InForceAfter))
	}
	p.line("")
	p.line("%s", p.paint(bold, title))
	if s.isTable() {
		p.columns("    ", "", "tried", "should", "did", "decided by")
	}
}

// isTable tells a step whose rows are all shown from one of which only
// surprises are: nothing decides on a port that is not guarded.
func (s *Step) isTable() bool { return s.File != "" }

func (p *printer) columns(mark, direction, what, should, did, decidedBy string) {
	p.line("%s  %-3s  %-*s  %-7s  %-7s  %s", mark, direction, p.whatWidth, what, should, did, decidedBy)
}

func (p *printer) mark(ok bool) string {
	if ok {
		return p.paint(green, "ok  ")
	}
	return p.paint(red, "FAIL")
}

func (p *printer) row(s *Step, r Row) {
	if r.OK && !s.isTable() {
		return
	}
	p.columns(p.mark(r.OK), r.Direction, r.What, string(r.Should), string(r.Did), decidersText(r.DecidedBy))
	for _, more := range []string{r.Note, r.Error} {
		if more != "" {
			p.line("%-11s%s", "", more)
		}
	}
}

func (p *printer) end(s *Step) {
	if s.isTable() {
		return
	}
	n := s.asExpected()
	p.line("%s  %d of %d attempts reach their destination and are answered, if there is an answer", p.mark(n == len(s.Rows)), n, len(s.Rows))
}

func (p *printer) conclude(r *Report) {
	p.line("")
	verdict := p.paint(green, "all as expected")
	if !r.OK() {
		verdict = p.paint(red, fmt.Sprintf("%d as expected, %d NOT", r.AsExpected, r.Tried-r.AsExpected))
	}
	p.line("%d tried, %s. Everything is removed.", r.Tried, verdict)
	t := r.Times
	p.line("%s: %s for the network and its servers, %s for compiling, loading and attaching,", seconds(t.Total), seconds(t.SetUp), seconds(t.Programs))
	p.line("%s for what works, %s for waiting in vain for what is blocked, %s for removing.", seconds(t.Answers), seconds(t.Silence), seconds(t.CleanUp))
	p.line("")
	p.line("To go on:")
	for _, command := range goOn {
		p.line("  %s", command)
	}
}

var goOn = []string{
	"go run ./cmd/tapgate show examples/ftp-related.xml --mac 52:54:00:00:00:01 --param IP=10.77.0.11",
	"go run ./cmd/tapgate explain --filter examples/ftp-related.xml --mac 52:54:00:00:00:01 \\",
	"    --param IP=10.77.0.11 --dir in 'tcp 10.77.0.20:4000 > 10.77.0.11:443 syn'",
	"go run ./cmd/tapgate demo --keep     leaves the network running, to be looked at",
}
