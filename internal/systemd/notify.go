// Package systemd tells the service manager how the daemon stands, and takes
// the socket that it listens at for the daemon. Without systemd's variables in
// the environment, nothing here does anything.
package systemd

import (
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Ready ends the start: units that are ordered behind this one begin. The
// status is one line for "systemctl status".
func Ready(status string) error { return notify(daemon.SdNotifyReady, statusLine(status)) }

// Status changes the line in "systemctl status".
func Status(status string) error { return notify(statusLine(status)) }

// Stopping tells that the daemon ends by itself.
func Stopping(status string) error { return notify(daemon.SdNotifyStopping, statusLine(status)) }

// Reloading tells that what is wanted is read again; Ready ends it.
func Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("tell systemd of a reload: %w", err)
	}
	return notify(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// StillStarting asks for more time to start, from now on: many ports take
// longer than the unit's TimeoutStartSec, and one that hangs must not get it.
func StillStarting(more time.Duration, status string) error {
	return notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", more.Microseconds()), statusLine(status))
}

// statusLine keeps a text from being read as further assignments.
func statusLine(text string) string {
	return "STATUS=" + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

func notify(assignments ...string) error {
	if _, err := daemon.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		return fmt.Errorf("tell systemd %q: %w", assignments[0], err)
	}
	return nil
}
