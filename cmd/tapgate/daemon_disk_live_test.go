package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tapgate/client"
)

// TestDaemonWithoutRoom runs the daemon on a disk that becomes full, and on one
// that becomes read-only: nothing is lost, what is in force stays, and a new
// daemon guards what is stored.
func TestDaemonWithoutRoom(t *testing.T) {
	h := newDaemonHost(t)
	state := filepath.Join(h.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(state, unix.MNT_DETACH) })
	h.start()
	h.define(noNine)
	h.bind("guest0", "no-nine")

	filler := filepath.Join(state, "filler")
	fill := func() {
		t.Helper()
		file, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for {
			if _, err := file.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", state, "", unix.MS_REMOUNT|flags, "size=256k"); err != nil {
			t.Fatal(err)
		}
	}
	for _, disk := range []struct {
		name, fault string
		spoil, mend func()
	}{
		{"full", "there is no space left", fill, func() { os.Remove(filler) }},
		{"read-only", readOnly, func() { remount(unix.MS_RDONLY) }, func() { remount(0) }},
	} {
		t.Run(disk.name, func(t *testing.T) {
			disk.spoil()
			h.refuses(disk.fault)
			h.stop()
			h.start()
			h.refuses(disk.fault)
			disk.mend()
			h.define(strings.Replace(noNine, "'9'", "'10'", 1))
			if h.arrives("out", toTen) || !h.arrives("out", toNine) {
				t.Error("with room again, the filter is not in force")
			}
			h.define(noNine)
		})
	}
}

const readOnly = "the file system is read-only"

// refuses checks that nothing can be changed, and that nothing was.
func (h *daemonHost) refuses(fault string) {
	h.Helper()
	ctx := h.Context()
	for name, change := range map[string]func() error{
		"define": func() error {
			_, err := h.Define(ctx, client.Document{Source: strings.Replace(noNine, "<rule", strings.Repeat(" ", 8192)+"<rule", 1)}, false)
			return err
		},
		"bind": func() error {
			_, err := h.Bind(ctx, client.Binding{Port: "guest0", Filter: "clean-traffic", MAC: "52:54:00:00:00:01",
				Parameters: []client.Parameter{{Name: "IP", Value: "10.77.0.11"}}}, nil)
			return err
		},
		"set": func() error {
			_, err := h.Set(ctx, "", []client.Assignment{{Name: "timeout_udp", Values: []string{"77"}}})
			return err
		},
		"unbind": func() error {
			if fault != readOnly {
				return errors.New(fault) // it needs no room but for a line of the journal
			}
			return h.Unbind(ctx, "guest0")
		},
	} {
		if err := change(); err == nil || !strings.Contains(err.Error(), fault) {
			h.Errorf("%s: %v, want %q", name, err, fault)
		}
	}
	h.becomes("guest0", "guarded", "no-nine")
	if h.arrives("out", toNine) || !h.arrives("out", toTen) {
		h.Error("the port does not enforce what it did")
	}
	f, err := h.Filter(ctx, "no-nine")
	if err != nil || f.Source != noNine {
		h.Errorf("stored is %+v, %v", f, err)
	}
}
