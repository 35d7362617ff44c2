package kerneltest

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// sequence is one in the making, in the notation of conntracktest.Script. The
// states that the notation wants behind a packet are not looked at.
type sequence struct {
	t     *rapid.T
	v6    bool
	steps []string
}

const (
	separator = " · "
	anyState  = " INV"
)

// draw draws a sequence of packets by next.
func draw(t *rapid.T, v6 bool, next func(*sequence)) string {
	s := &sequence{t: t, v6: v6}
	if v6 {
		s.steps = append(s.steps, "v6")
	}
	for range rapid.IntRange(1, 30).Draw(t, "packets") {
		next(s)
	}
	return strings.Join(s.steps, separator)
}

// add appends a packet, which a rule drops now and then.
func (s *sequence) add(what string, options ...string) {
	if s.chance(4) {
		what += "!"
	}
	s.steps = append(s.steps, strings.Join(append([]string{what}, options...), " ")+anyState)
}

// pause appends one, rarely, because it takes real time on the kernel.
func (s *sequence) pause() {
	if s.chance(1) {
		s.steps = append(s.steps, fmt.Sprintf("+%ds", oneOf(s, 1, 2, 3, 5, 9, 10, 11, 29, 30, 31, 59, 60, 61, 119, 120, 121, 179, 209, 210, 299, 300, 301, 431999, 432000)))
	}
}

func (s *sequence) chance(percent int) bool {
	return rapid.IntRange(0, 99).Draw(s.t, "chance") >= 100-percent
}

// oneOf draws a value; the first ones are the simplest.
func oneOf[T any](s *sequence, values ...T) T {
	return values[rapid.IntRange(0, len(values)-1).Draw(s.t, "choice")]
}

// side draws who sends; the two sides of a sequence are o and r.
func (s *sequence) side() byte { return oneOf(s, byte('o'), byte('r')) }

func other(side byte) byte { return 'o' + 'r' - side }
