// Package logging chooses how the daemon's log is written: for a person, for
// systemd's journal, or as JSON.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Format is how lines look.
type Format string

// The formats.
const (
	Text Format = "text" // key=value
	JSON Format = "json" // an object a line
)

// ParseFormat reads the name of a format.
func ParseFormat(name string) (Format, error) {
	switch f := Format(name); f {
	case Text, JSON:
		return f, nil
	}
	return "", fmt.Errorf("there is no log format %q; expected text or json", name)
}

// ParseLevel reads the name of a level.
func ParseLevel(name string) (slog.Level, error) {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(name, l.String()) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("there is no log level %q; expected debug, info, warn or error", name)
}

// New writes what is of a level or above to a file, os.Stderr in the daemon. If
// the file is systemd's journal, each line begins with its priority, and says
// neither when nor how grave: the journal knows both.
func New(file *os.File, format Format, level slog.Leveler) *slog.Logger {
	return slog.New(newHandler(file, IsJournal(file), format, level))
}

func newHandler(w io.Writer, journal bool, format Format, level slog.Leveler) slog.Handler {
	if !journal {
		return plain(w, format, &slog.HandlerOptions{Level: level})
	}
	return newJournal(w, format, level)
}

func plain(w io.Writer, format Format, o *slog.HandlerOptions) slog.Handler {
	if format == JSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// IsJournal tells whether a file is the stream to the journal that systemd
// names in JOURNAL_STREAM as DEVICE:INODE (systemd.exec(5)): it stays in the
// environment when the file is turned elsewhere.
func IsJournal(file *os.File) bool {
	var stat unix.Stat_t
	if unix.Fstat(int(file.Fd()), &stat) != nil {
		return false
	}
	return os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
