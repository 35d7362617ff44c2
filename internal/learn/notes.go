package learn

import (
	"fmt"
	"maps"
	"time"
)

// A guest decides how often something is to be noted, and with which addresses.
const (
	noteEvery = 10 * time.Second
	maxNotes  = 10 // in that time
)

// notes are sentences for the log, each at most once in noteEvery.
type notes struct {
	now  time.Time
	last map[string]time.Time
	new  []string
}

func (n *notes) begin(now time.Time) {
	n.now, n.new = now, nil
	maps.DeleteFunc(n.last, func(_ string, at time.Time) bool { return now.Sub(at) >= noteEvery })
}

func (n *notes) end() []string { return n.new }

func (n *notes) add(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	if _, ok := n.last[text]; ok || len(n.last) >= maxNotes {
		return
	}
	if n.last == nil {
		n.last = map[string]time.Time{}
	}
	n.last[text] = n.now
	n.new = append(n.new, text)
}
