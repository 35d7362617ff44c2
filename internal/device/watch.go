package device

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// List are all devices of the calling thread's network namespace, by name.
func List() (map[string]Device, error) {
	links, err := netlink.LinkList()
	// A dump that a change interrupted may lack devices: the change is an event
	// that brings another look.
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	namespace, err := Namespace()
	if err != nil {
		return nil, err
	}
	devices := make(map[string]Device, len(links))
	for _, l := range links {
		a := l.Attrs()
		devices[a.Name] = Device{Name: a.Name, Index: a.Index, Kind: l.Type(), Namespace: namespace, Bridge: a.MasterIndex}
	}
	return devices, nil
}

// Watch tells that something about devices of the calling thread's network
// namespace changed, not what: whoever listens looks for itself, so that nothing
// depends on seeing every event. Changes that come before the last one was taken
// note of are told as one. The channel is closed when ctx ends, or when the
// kernel tells no more.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		return nil, fmt.Errorf("watch the network devices: %w", err)
	}
	// Of what is beyond, the kernel says that it was lost, which is told as a
	// change too.
	const room = 4 << 20
	_ = socket.SetReceiveBufferSize(room, false)
	changed := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, socket.Close)
	go func() {
		defer close(changed)
		defer stop()
		for {
			messages, _, err := socket.Receive()
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, unix.ENOBUFS):
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
				continue
			case err != nil:
				return
			case !anyLink(messages):
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}

func anyLink(messages []syscall.NetlinkMessage) bool {
	for _, m := range messages {
		if m.Header.Type == unix.RTM_NEWLINK || m.Header.Type == unix.RTM_DELLINK {
			return true
		}
	}
	return false
}

// SetDown takes a device out of service.
func (d Device) SetDown() error {
	l := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}
	if err := netlink.LinkSetDown(l); err != nil {
		return fmt.Errorf("set %s down: %w", d.Name, err)
	}
	return nil
}
