package reject

import "time"

// A port answers 100 packets a second in each direction, 50 at once.
const (
	interval = int64(time.Second) / 100
	burst    = 50
)

// Limit is a token bucket, one for each direction. The zero value is full.
type Limit struct {
	full int64 // when the bucket is full again
}

// Allow takes a token, if there is one. now is in nanoseconds on a clock that
// never goes back.
func (l *Limit) Allow(now int64) bool {
	full := max(l.full, now)
	if full-now > (burst-1)*interval {
		return false
	}
	l.full = full + interval
	return true
}
