package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"tapgate/client"
	"tapgate/internal/lab"
)

// vmLease is what udhcpc calls in the virtual machine: as soon as it has the address, one ping goes out,
// for which a second is long.
const vmLease = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ping -c 1 -W 1 10.77.0.20 >/dev/null && echo "lab: answered" || echo "lab: no answer"
echo "lab: bound $ip"
echo "lab: up"
`

const vmScript = `mkdir /www
echo hello from the lab >/www/index.html
httpd -h /www
udhcpc -f -i eth0 -s /lease -t 20 -T 1`

// TestVirtualMachine boots a guest with a kernel of its own at a port that has learned nothing: it asks a dnsmasq
// for its address, and its first packet after that is answered; so is the first one to it.
func TestVirtualMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("boots virtual machines in software, which takes seconds")
	}
	for _, mode := range []string{"dhcp", "any"} {
		t.Run(mode, func(t *testing.T) {
			h := newLearningHost(t)
			h.dnsmasq()
			mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x50}
			h.must(h.AddVMPort("vm0"))
			_, err := h.Bind(t.Context(), client.Binding{
				Port: "vm0", Filter: "clean-traffic", MAC: mac.String(),
				Parameters: []client.Parameter{{Name: "CTRL_IP_LEARNING", Value: mode}},
			}, nil)
			h.must(err)
			if p := h.port("vm0"); p.State != "learning" {
				t.Errorf("port %+v", p)
			}
			watch := h.watchExchange(mac)
			begin := time.Now()
			vm, err := h.AddVM(lab.VMConfig{
				Name: "vm0", MAC: mac, Dir: t.TempDir(), Script: vmScript, Files: map[string]string{"/lease": vmLease},
			})
			h.needs(err)
			h.must(vm.Booted(h.within(50*time.Second), "lab: up"))
			booted := time.Since(begin)
			found := regexp.MustCompile(`lab: bound (\S+)`).FindStringSubmatch(vm.Output())
			if found == nil {
				t.Fatalf("it has no address:\n%s", vm.Output())
			}
			address, err := netip.ParseAddr(found[1])
			h.must(err)
			if !bytes.Contains([]byte(vm.Output()), []byte("lab: answered")) {
				t.Errorf("its first ping is not answered:\n%s", vm.Output())
			}
			// One try each.
			if err := lab.Ping(t.Context(), h.Neighbour.Namespace, address); err != nil {
				t.Errorf("it is not reached: %v", err)
			}
			if err := lab.HTTP(t.Context(), h.Neighbour.Namespace, netip.AddrPortFrom(address, lab.HTTPPort)); err != nil {
				t.Errorf("its page is not reached: %v", err)
			}
			h.learned("vm0", address.String())
			ack, request, reply := watch()
			t.Logf("up after %s; its first ping was answered %s after the DHCPACK", booted, reply.Sub(ack))
			if lost := reply.Sub(request) > 500*time.Millisecond; lost || ack.IsZero() || request.Before(ack) {
				t.Errorf("the DHCPACK came at %s, the first ping of the guest at %s, its answer at %s", ack, request, reply)
			}
		})
	}
}

// watchExchange notes, where the bridge hears the guests, when a guest was acknowledged its address, when the guest sends its first
// ping and when that is answered.
func (h *learningHost) watchExchange(mac net.HardwareAddr) func() (ack, request, reply time.Time) {
	h.Helper()
	server, err := h.Host.OpenFrames(h.Neighbour.Port)
	h.must(err)
	guest, err := h.Host.OpenFrames("vm0")
	h.must(err)
	var mu sync.Mutex
	var ack, request, reply time.Time
	first := func(at *time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if at.IsZero() {
			*at = time.Now()
		}
	}
	ctx, stop := context.WithCancel(h.Context())
	var watchers sync.WaitGroup
	watchers.Go(func() {
		_, _ = server.Receive(ctx, func(frame []byte) bool {
			switch {
			case echo(frame, 0):
				first(&reply)
			case isACK(frame, mac):
				first(&ack)
			}
			return false
		})
	})
	watchers.Go(func() {
		_, _ = guest.Receive(ctx, func(frame []byte) bool {
			if echo(frame, 8) {
				first(&request)
			}
			return false
		})
	})
	h.Cleanup(func() { stop(); watchers.Wait() })
	return func() (time.Time, time.Time, time.Time) {
		mu.Lock()
		defer mu.Unlock()
		return ack, request, reply
	}
}

// echo tells whether a frame is an ICMP message of a type: 8 asks, 0 answers (RFC 792).
func echo(frame []byte, kind byte) bool {
	const icmp = 1
	return len(frame) >= 42 && binary.BigEndian.Uint16(frame[12:]) == 0x0800 && frame[23] == icmp && frame[34] == kind
}

// isACK tells whether a frame is a DHCPACK for a client.
func isACK(frame []byte, mac net.HardwareAddr) bool {
	const payload = 42
	if len(frame) < payload || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || binary.BigEndian.Uint16(frame[36:]) != lab.DHCPClientPort {
		return false
	}
	message, err := dhcpv4.FromBytes(frame[payload:])
	return err == nil && message.MessageType() == dhcpv4.MessageTypeAck && bytes.Equal(message.ClientHWAddr, mac)
}
