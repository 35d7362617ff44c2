package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// setupTimeout bounds the wait for a device that never runs.
const setupTimeout = 5 * time.Second

// Lab is the network described in the package's comment.
type Lab struct {
	Host      *Namespace
	Guest     *Guest
	Neighbour *Guest

	// ctx ends with the lab and takes the servers along.
	ctx     context.Context
	cancel  context.CancelFunc
	servers sync.WaitGroup

	mu     sync.Mutex
	guests []*Guest
	closed bool
	// forget takes the lab off the context that New was called with.
	forget func() bool

	closeOnce sync.Once
}

// New builds the network, without servers (see StartServers). When ctx ends, the lab is closed. If
// New fails, nothing is left; without the rights it fails with ErrNeedsRoot.
func New(ctx context.Context) (*Lab, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, err := newHost()
	if err != nil {
		return nil, err
	}
	l := &Lab{Host: host}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if err := l.build(); err != nil {
		l.Close()
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget = context.AfterFunc(ctx, l.Close)
	return l, nil
}

func (l *Lab) build() error {
	var err error
	l.Guest, err = l.AddGuest(l.ctx, GuestConfig{
		Name: "guest",
		MAC:  net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x01},
		IPv4: netip.MustParsePrefix("10.77.0.11/24"),
		IPv6: netip.MustParsePrefix("fd77::11/64"),
	})
	if err != nil {
		return err
	}
	l.Neighbour, err = l.AddGuest(l.ctx, GuestConfig{
		Name: "neighbour",
		MAC:  net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99},
		IPv4: netip.MustParsePrefix("10.77.0.20/24"),
		IPv6: netip.MustParsePrefix("fd77::20/64"),
	})
	return err
}

// own makes the guest end with the lab.
func (l *Lab) own(guest *Guest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the lab is closed")
	}
	for _, other := range l.guests {
		if other.name == guest.name {
			return fmt.Errorf("there is a guest %s already", guest.name)
		}
	}
	l.guests = append(l.guests, guest)
	return nil
}

// Close stops the servers, removes devices and namespaces and returns when that is done. It may be
// called more than once.
func (l *Lab) Close() {
	l.closeOnce.Do(l.close)
}

func (l *Lab) close() {
	l.cancel()
	l.mu.Lock()
	l.closed = true
	guests := l.guests
	if l.forget != nil {
		l.forget()
	}
	l.mu.Unlock()

	l.servers.Wait()
	for _, guest := range guests {
		guest.resources.closeAll()
		// Removed by hand because the kernel clears a dead namespace some time later. The device is
		// missing when the lab failed half-way.
		if port, err := l.Host.links.LinkByName(guest.Port); err == nil {
			_ = l.Host.links.LinkDel(port)
		}
		guest.close()
	}
	l.Host.resources.closeAll()
	if bridge, err := l.Host.links.LinkByName(Bridge); err == nil {
		_ = l.Host.links.LinkDel(bridge)
	}
	l.Host.close()
}
