package datapath

import (
	"errors"
	"testing"

	"tapgate/internal/device"
	"tapgate/internal/lab"
)

func (l *live) shut(port string, replace bool) {
	l.t.Helper()
	l.in(func() error { return l.host.Shut(l.t.Context(), port, replace) })
}

func TestAShutPortPassesNothing(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			port := l.Guest.Port
			l.shut(port, false)
			l.state(port, Shut)
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "out"), false)
			l.arrives(l.Neighbour, l.Guest, l.reply(9, "in"), false)

			// A policy takes its place, and is not shut unless that is meant.
			l.guard(port, resolve(t, acceptAll))
			l.state(port, Guarded)
			l.shut(port, false)
			l.state(port, Guarded)
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "out again"), true)
			l.shut(port, true)
			l.state(port, Shut)
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "and shut"), false)
			l.guard(port, resolve(t, acceptAll))
			l.arrives(l.Neighbour, l.Guest, l.reply(9, "in again"), true)
			l.release(port)

			l.shut(port, false)
			l.release(port)
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "free"), true)
			l.state(port, "")
			l.in(func() error {
				var missing *device.NotFoundError
				if err := l.host.Shut(t.Context(), "nosuch0", false); !errors.As(err, &missing) {
					t.Errorf("shutting nothing: %v", err)
				}
				return nil
			})
		})
	}
}

func TestADirectionWithoutAPolicyIsShut(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	l.guard(port, resolve(t, acceptAll))
	// Somebody took one program off.
	s, err := openLink(l.host.portDir(port), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.link.Detach(), s.link.Close()); err != nil {
		t.Fatal(err)
	}
	l.state(port, Unguarded)
	l.shut(port, false)
	l.state(port, Shut)
	l.guard(port, resolve(t, acceptAll))
	l.state(port, Guarded)
}

// follow lets the host look where devices have gone.
func (l *live) follow() (moved []Moved) {
	l.t.Helper()
	l.in(func() error {
		devices, err := device.List()
		if err != nil {
			return err
		}
		moved, err = l.host.Follow(l.t.Context(), devices)
		return err
	})
	return moved
}

// rename gives a device of the host another name.
func (l *live) rename(from, to string) {
	l.t.Helper()
	links := l.Lab.Host.Links()
	dev, err := links.LinkByName(from)
	if err == nil {
		err = errors.Join(links.LinkSetDown(dev), links.LinkSetName(dev, to), links.LinkSetUp(dev))
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) addTap(name string) *lab.Tap {
	l.t.Helper()
	tap, err := l.AddTap(l.t.Context(), lab.TapConfig{Name: name})
	if err != nil {
		l.t.Fatal(err)
	}
	return tap
}

func TestAPortIsRenamedWithItsDevice(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			l.addTap("tap0")
			l.addTap("tap1")
			l.guard("tap0", resolve(t, dropAll))
			l.guard("tap1", resolve(t, acceptAll))
			number := l.binding("tap0").Number
			if moved := l.follow(); len(moved) > 0 {
				t.Errorf("nothing was renamed, but %v", moved)
			}
			l.rename("tap0", "web.0")
			if moved := l.follow(); len(moved) != 1 || moved[0] != (Moved{"tap0", "web.0"}) {
				t.Errorf("moved %v", moved)
			}
			l.state("tap0", "")
			l.state("web.0", Guarded)
			if p := l.port("web.0"); p.Device != "web.0" || p.Filter != "drop-all" {
				t.Errorf("port %+v", p)
			}
			if b := l.binding("web.0"); b.Number != number || b.Port != "web.0" {
				t.Errorf("binding of %s, number %d, want %d", b.Port, b.Number, number)
			}
			// Swaps go on under the new name, with connections and counters.
			if c := l.guard("web.0", resolve(t, dropNine)); !c.Replaced {
				t.Errorf("change %+v", c)
			}

			// Two exchange their names.
			l.rename("tap1", "tmp")
			l.rename("web.0", "tap1")
			l.rename("tmp", "web.0")
			l.follow()
			l.state("tap1", Guarded)
			l.state("web.0", Guarded)
			if got := l.port("tap1").Filter + " " + l.port("web.0").Filter; got != "f accept-all" {
				t.Errorf("filters %s", got)
			}
			if moved := l.follow(); len(moved) > 0 {
				t.Errorf("they move again: %v", moved)
			}
			l.release("tap1")
			l.release("web.0")
			l.empty()
		})
	}
}

func TestANameWhoseDeviceIsGoneIsGivenAway(t *testing.T) {
	l := newLive(t, TCX)
	gone := l.addTap("tap0")
	l.guard("tap0", resolve(t, dropAll))
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	l.addTap("tap1")
	l.guard("tap1", resolve(t, acceptAll))
	l.rename("tap1", "tap0")
	l.follow()
	l.state("tap0", Guarded)
	l.state("tap1", "")
	if p := l.port("tap0"); p.Filter != "accept-all" {
		t.Errorf("port %+v", p)
	}
	l.release("tap0")
	l.empty()
}
