package conntracktest

import (
	"strings"
	"testing"
	"time"
)

// eachLine hands the lines of a sequence to fn, with a clock on which packets
// are a millisecond apart. "wait 30s" lets time pass.
func eachLine(t *testing.T, lines string, fn func(line string, tick func() int64)) {
	t.Helper()
	now := int64(time.Hour)
	tick := func() int64 {
		now += int64(time.Millisecond)
		return now
	}
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		line = strings.TrimSpace(line)
		pause, ok := strings.CutPrefix(line, "wait ")
		if !ok {
			fn(line, tick)
			continue
		}
		d, err := time.ParseDuration(pause)
		if err != nil {
			t.Fatal(err)
		}
		now += int64(d)
	}
}
