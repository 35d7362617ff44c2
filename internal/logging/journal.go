package logging

import (
	"context"
	"io"
	"log/slog"
)

// journal is a handler for each of syslog's priorities that slog has levels
// for: what a handler writes for a record, in one call, gets its priority in
// front (sd-daemon(3)).
type journal struct {
	level      slog.Leveler
	priorities [4]slog.Handler
}

var _ slog.Handler = (*journal)(nil)

// syslog's priorities: err, warning, info, debug.
var priorities = [4]string{"<3>", "<4>", "<6>", "<7>"}

func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 0
	case l >= slog.LevelWarn:
		return 1
	case l >= slog.LevelInfo:
		return 2
	}
	return 3
}

func newJournal(w io.Writer, format Format, level slog.Leveler) *journal {
	j := &journal{level: level}
	options := &slog.HandlerOptions{
		Level: slog.Level(-1 << 30), // Enabled has decided
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}
	for i, prefix := range priorities {
		j.priorities[i] = plain(prefixed{w, prefix}, format, options)
	}
	return j
}

// prefixed writes a line at once: lines of several handlers must not mix.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

func (j *journal) Enabled(_ context.Context, l slog.Level) bool { return l >= j.level.Level() }

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	return j.priorities[priority(r.Level)].Handle(ctx, r)
}

func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (j *journal) WithGroup(name string) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (j *journal) each(fn func(slog.Handler) slog.Handler) *journal {
	changed := &journal{level: j.level}
	for i, h := range j.priorities {
		changed.priorities[i] = fn(h)
	}
	return changed
}
