package datapath

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

// DefaultWatchRate is how many reports of a port a watcher is told of in a
// second if it says nothing else.
const DefaultWatchRate = 100

// MaxWatchRate is the most that may be asked for.
const MaxWatchRate = 1_000_000

// WatchOptions say what a watcher wants to know.
type WatchOptions struct {
	// Ports to watch; all, and those that come later, if empty.
	Ports []string
	// Drops and Passes say which packets.
	Drops, Passes bool
	// Rate bounds the reports of each port in a second, drops and passes each
	// by themselves; DefaultWatchRate if 0. A second's worth may come at once.
	Rate int
}

func (o *WatchOptions) entry() watcherEntry {
	rate := uint64(DefaultWatchRate)
	if o.Rate > 0 {
		rate = uint64(min(o.Rate, MaxWatchRate))
	}
	e := watcherEntry{Interval: uint64(time.Second) / rate}
	e.Depth = (rate - 1) * e.Interval
	for f, wanted := range [fates]bool{fateDropped: o.Drops, fatePassed: o.Passes} {
		if wanted {
			e.Fates |= 1 << f
		}
	}
	if len(o.Ports) == 0 {
		e.EveryPort = 1
	}
	return e
}

// Notice is one of the things that a watcher is told.
type Notice struct {
	// Report is a packet.
	Report *Report `json:"report,omitempty"`
	// Hidden are packets that the watcher was not told of.
	Hidden *Hidden `json:"hidden,omitempty"`
	// Watched are the ports that are watched from now on.
	Watched *Watched `json:"watched,omitempty"`
}

// Hidden counts packets that the watcher was not told of since it was last told
// how many.
type Hidden struct {
	// Port is empty for those that come after 16,384 others.
	Port string
	// Passed are they, or else dropped.
	Passed bool
	// Limited are those beyond the rate, Lost those that the watcher was too
	// slow for.
	Limited, Lost uint64
}

// Watched are ports by name.
type Watched struct {
	Ports []string `json:"ports"`
	// Strange ones were bound by another version of tapgate, whose programs
	// tell this one nothing. Binding them again helps.
	Strange []string `json:"strange,omitempty"`
}

func (w *Watched) equal(o *Watched) bool {
	return o != nil && slices.Equal(w.Ports, o.Ports) && slices.Equal(w.Strange, o.Strange)
}

// Watch tells what becomes of packets: at first what is watched, then packets as
// they come, and each second what was left out. It ends without an error when
// ctx ends, after the last reports and counts. A process that dies leaves nothing
// behind for longer than ten seconds. It fails with *NotGuardedError if one of
// the ports that are asked for is not guarded; later they may come and go.
func (h *Host) Watch(ctx context.Context, options WatchOptions) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		err := h.watch(ctx, &options, func(n Notice) error {
			if !yield(n, nil) {
				return errUnheard
			}
			return nil
		})
		if err != nil && !errors.Is(err, errUnheard) && !errors.Is(err, ctx.Err()) {
			yield(Notice{}, err)
		}
	}
}

var errUnheard = errors.New("nobody listens any more")
