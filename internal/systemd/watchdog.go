package systemd

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog tells systemd that the daemon is alive, twice within the time that
// the unit's WatchdogSec allows, as long as it is healthy. While it is not,
// nothing is told, and systemd kills and restarts the daemon if that lasts.
// Watchdog returns when the context ends, at once if nobody wants to be told.
// A notification that fails is tried again; the error tells of the last one.
func Watchdog(ctx context.Context, healthy func() bool) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read systemd's watchdog: %w", err)
	}
	if limit == 0 {
		return nil
	}
	ticks := time.NewTicker(limit / 2)
	defer ticks.Stop()
	for {
		if healthy() {
			err = notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticks.C:
		}
	}
}

// Pulse is how a loop proves that it goes round. The zero value has never
// beaten, and may be used by several at once.
type Pulse struct{ last atomic.Pointer[time.Time] }

// Beat is called once a round.
func (p *Pulse) Beat() {
	now := time.Now() // with the monotonic clock
	p.last.Store(&now)
}

// Within tells whether the last beat is no longer ago.
func (p *Pulse) Within(limit time.Duration) bool {
	last := p.last.Load()
	return last != nil && time.Since(*last) <= limit
}
