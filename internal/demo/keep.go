package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"tapgate/internal/lab"
)

// keep tells how to get into the network, with filter A in force again, and
// waits for a line or the end of ctx.
func (d *demo) keep(ctx context.Context, in io.Reader) error {
	if _, err := d.guard(ctx, filterA); err != nil {
		return err
	}
	p := d.print
	p.line("")
	p.line("%s", p.paint(bold, fmt.Sprintf("Kept, with filter %s in force. In other shells:", filterA.letter)))
	for _, place := range []struct {
		name string
		in   *lab.Namespace
	}{{"guest", d.lab.Guest.Namespace}, {"neighbour", d.lab.Neighbour.Namespace}, {"host", d.lab.Host}} {
		handle, err := open(place.in)
		if err != nil {
			return err
		}
		defer handle.Close()
		p.line("  %-10s nsenter --net=/proc/%d/fd/%d", place.name, os.Getpid(), handle.Fd())
		if place.in == d.lab.Host {
			p.line("  %-10s nsenter --net=/proc/%d/fd/%d go run ./cmd/tapgate stats %s --bpffs %s",
				"counters", os.Getpid(), handle.Fd(), d.lab.Guest.Port, d.pins.dir())
		}
	}
	p.line("Enter or Ctrl-C ends it.")
	select {
	case <-ctx.Done():
	case <-lineFrom(in):
	}
	return nil
}

// open gives a handle on the namespace.
func open(ns *lab.Namespace) (handle *os.File, err error) {
	err = ns.Do(func() error {
		handle, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return handle, err
}

// lineFrom is closed when a line was read. What has no line, such as a closed
// standard input, is waited for forever.
func lineFrom(r io.Reader) <-chan struct{} {
	line := make(chan struct{})
	if r == nil {
		return line
	}
	go func() {
		if _, err := bufio.NewReader(r).ReadString('\n'); err == nil {
			close(line)
		}
	}()
	return line
}
