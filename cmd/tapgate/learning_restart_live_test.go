package main

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"tapgate/internal/lab"
)

// TestLearningThroughRestarts ends the daemon in each state of an exchange, by a signal and by a kill, and starts
// the next one: what the guest has been given in the meantime is learned, and nothing else.
func TestLearningThroughRestarts(t *testing.T) {
	const address = "10.77.0.140"
	for _, end := range []struct {
		name string
		end  func(*learningHost)
	}{
		{"stopped", func(h *learningHost) { h.stop() }},
		{"killed", func(h *learningHost) { h.kill() }},
	} {
		for _, state := range []struct {
			name  string
			lease time.Duration
			// happen brings the exchange into the state, ends the daemon and starts the next.
			happen func(h *learningHost, s *lab.DHCPServer, restart func(between func()))
			// ended is set if there is no lease any more.
			ended bool
		}{
			{"before DISCOVER", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				restart(func() {})
				h.gets(h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc}), is(address))
			}, false},
			{"the whole exchange without a daemon", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				restart(func() { h.gets(h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc}), is(address)) })
			}, false},
			{"after DISCOVER", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				s.Hold(dhcpv4.MessageTypeDiscover)
				p := h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc})
				_, err := s.Heard(h.within(5*time.Second), dhcpv4.MessageTypeDiscover, 0)
				h.must(err)
				restart(func() {})
				h.must(s.Answer())
				h.gets(p, is(address))
			}, false},
			{"between REQUEST and ACK", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				s.Hold(dhcpv4.MessageTypeRequest)
				p := h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc})
				_, err := s.Heard(h.within(5*time.Second), dhcpv4.MessageTypeRequest, 0)
				h.must(err)
				time.Sleep(50 * time.Millisecond) // as long as remembering takes
				restart(func() {})
				h.must(s.Answer())
				h.gets(p, is(address))
			}, false},
			{"ACK without a daemon", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				s.Hold(dhcpv4.MessageTypeRequest)
				p := h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc})
				_, err := s.Heard(h.within(5*time.Second), dhcpv4.MessageTypeRequest, 0)
				h.must(err)
				time.Sleep(50 * time.Millisecond)
				restart(func() {
					h.must(s.Answer())
					h.gets(p, is(address))
				})
			}, false},
			{"bound", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				a := h.gets(h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc}), is(address))
				h.learned("client0", address)
				restart(func() { h.reached(a) })
			}, false},
			{"renewing", 4 * time.Second, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				a := h.gets(h.ask(lab.DHCPClientConfig{Client: lab.Dhclient}), is(address))
				first := h.learned("client0", address)[address]
				restart(func() {
					_, err := s.Heard(h.within(5*time.Second), dhcpv4.MessageTypeRequest, s.Mark())
					h.must(err)
				})
				h.eventually(fmt.Sprintf("the lease %+v is renewed", first), func() bool {
					l, ok := h.leases("client0")[address]
					return ok && l.End.After(*first.End)
				})
				time.Sleep(time.Until(*first.End))
				h.reached(a)
			}, false},
			{"expired without a daemon", 3 * time.Second, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				p := h.ask(lab.DHCPClientConfig{Client: lab.Dhclient})
				h.gets(p, is(address))
				l := h.learned("client0", address)[address]
				h.must(p.Signal(syscall.SIGKILL))
				restart(func() { time.Sleep(time.Until(*l.End) + 100*time.Millisecond) })
			}, true},
			{"released without a daemon", time.Minute, func(h *learningHost, s *lab.DHCPServer, restart func(func())) {
				p := h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc, Release: true})
				h.gets(p, is(address))
				h.learned("client0", address)
				restart(p.Stop)
			}, true},
		} {
			t.Run(state.name+", "+end.name, func(t *testing.T) {
				if testing.Short() && end.name == "stopped" {
					t.Skip("a kill is the harder end")
				}
				h := newLearningHost(t)
				server := h.server(address, state.lease)
				h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
				h.neverPasses(h.client, "10.77.0.12")
				state.happen(h, server, func(between func()) {
					end.end(h)
					between()
					h.start()
				})
				if state.ended {
					h.learned("client0")
					if h.passes(h.client, address) {
						t.Error("an address passes whose lease has ended")
					}
					return
				}
				h.learned("client0", address)
				h.reached(netip.MustParseAddr(address))
			})
		}
	}
}

// TestLearnedByAnyThroughRestarts: libvirt forgets the address, and takes whoever speaks first.
func TestLearnedByAnyThroughRestarts(t *testing.T) {
	h := newLearningHost(t)
	h.learn(h.Guest, "clean-traffic")
	h.must(lab.Ping(t.Context(), h.Guest.Namespace, h.Neighbour.IPv4))
	h.learned("guest0", "10.77.0.11")
	h.neverPasses(h.Guest, "10.77.0.12")
	for _, end := range []func(){h.stop, h.kill} {
		end()
		h.must(lab.Ping(t.Context(), h.Guest.Namespace, h.Neighbour.IPv4))
		h.start()
		h.learned("guest0", "10.77.0.11")
		h.must(lab.Ping(t.Context(), h.Guest.Namespace, h.Neighbour.IPv4))
	}
	// It had not learned when the daemon was killed.
	h.learn(h.client, "clean-traffic")
	h.kill()
	h.must(h.client.AddAddress(netip.MustParsePrefix("10.77.0.40/24")))
	if lab.Ping(t.Context(), h.client.Namespace, h.Neighbour.IPv4) == nil {
		t.Error("an address passes that nobody has learned")
	}
	h.start()
	// What it sent without a daemon is read by this one.
	h.learned("client0", "10.77.0.40")
	h.must(lab.Ping(t.Context(), h.client.Namespace, h.Neighbour.IPv4))
}
