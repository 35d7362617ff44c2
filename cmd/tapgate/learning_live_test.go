package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"

	"tapgate/client"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// learningHost is a host with a guest more, client, at the port client0, that has no address of IPv4
// yet; the lab's own guest, at guest0, has had 10.77.0.11 since before it was guarded.
type learningHost struct {
	*daemonHost
	client *lab.Guest
}

// learnedLease is a lease as `tapgate leases --json` tells it.
type learnedLease struct {
	Port    string     `json:"port"`
	Address string     `json:"address"`
	Source  string     `json:"source"`
	Server  string     `json:"server"`
	Renewed time.Time  `json:"renewed"`
	End     *time.Time `json:"end"`
}

// newLearningHost makes one for a test that runs beside others: they wait most of the time.
func newLearningHost(t *testing.T) *learningHost {
	t.Helper()
	t.Parallel()
	return newBusyLearningHost(t)
}

// newBusyLearningHost makes one for a test that needs the processor for itself.
func newBusyLearningHost(t *testing.T) *learningHost {
	t.Helper()
	h := &learningHost{daemonHost: newDaemonHost(t)}
	guest, err := h.AddGuest(t.Context(), lab.GuestConfig{Name: "client", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x40}})
	if err != nil {
		t.Fatal(err)
	}
	h.client = guest
	h.start()
	return h
}

// needs fails the test if a program could not be started, and skips it if it is not installed.
func (h *learningHost) needs(err error) {
	h.Helper()
	var missing *lab.MissingError
	if errors.As(err, &missing) {
		h.Skip(missing)
	}
	h.must(err)
}

// runs is needs for a program, which ends before what the test does away with: its directory is one.
func (h *learningHost) runs(p *lab.Program, err error) {
	h.Helper()
	h.needs(err)
	h.Cleanup(p.Stop)
}

func (h *learningHost) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("%v; the log: %s", err, h.log)
	}
}

func (h *learningHost) within(limit time.Duration) context.Context {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), limit)
	h.Cleanup(cancel)
	return ctx
}

// learn binds a guest's port to a filter, with parameters as NAME=VALUE.
func (h *learningHost) learn(guest *lab.Guest, filter string, parameters ...string) {
	h.Helper()
	b := client.Binding{Port: guest.Port, Filter: filter, MAC: guest.MAC.String()}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		b.Parameters = append(b.Parameters, client.Parameter{Name: name, Value: value})
	}
	_, err := h.Bind(h.Context(), b, nil)
	h.must(err)
	if p := h.port(guest.Port); p == nil || p.State != "learning" {
		h.Fatalf("it is bound to %s without an address, and listed as %+v", filter, p)
	}
}

// leases are those of a port, by address.
func (h *learningHost) leases(port string) map[string]learnedLease {
	h.Helper()
	command := h.command("leases", port, "--json")
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := h.Host.Do(command.Run); err != nil {
		h.Fatalf("tapgate leases: %v: %s", err, &said)
	}
	var list []learnedLease
	h.must(json.Unmarshal(out.Bytes(), &list))
	leases := map[string]learnedLease{}
	for _, l := range list {
		leases[l.Address] = l
	}
	return leases
}

// learned waits until a port's leases are of these addresses and no others, and its whole policy is in
// force; it is restricted again if there are none.
func (h *learningHost) learned(port string, addresses ...string) map[string]learnedLease {
	h.Helper()
	slices.Sort(addresses)
	state := "guarded"
	if len(addresses) == 0 {
		state = "learning"
	}
	var leases map[string]learnedLease
	h.eventually(fmt.Sprintf("port %s has the leases %v and is %s", port, addresses, state), func() bool {
		leases = h.leases(port)
		p := h.port(port)
		return p != nil && string(p.State) == state && slices.Equal(slices.Sorted(maps.Keys(leases)), addresses)
	})
	return leases
}

// passes tells whether a datagram, of a guest that may lie about its address, arrives at the neighbour.
func (h *learningHost) passes(guest *lab.Guest, source string) bool {
	h.Helper()
	to := h.Neighbour.IPv4
	from := netip.MustParseAddr(source)
	if from.Is6() {
		to = h.Neighbour.IPv6
	}
	frame := lab.UDPFrame(guest.MAC, h.Neighbour.MAC, netip.AddrPortFrom(from, 4000), netip.AddrPortFrom(to, 9), []byte("claim"))
	return h.goesOut(guest, frame)
}

func (h *learningHost) goesOut(guest *lab.Guest, frame []byte) bool {
	h.Helper()
	err := lab.Arrives(h.Context(), guest, h.Neighbour, frame)
	if err != nil && !lab.NoAnswer(err) {
		h.Fatal(err)
	}
	return err == nil
}

// knowsNeighbour spares a guest the question who the neighbour is, which would be a claim.
func (h *learningHost) knowsNeighbour(guest *lab.Guest) {
	h.Helper()
	link, err := guest.Links().LinkByName(lab.GuestDevice)
	h.must(err)
	h.must(guest.Links().NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: h.Neighbour.IPv4.AsSlice(), HardwareAddr: h.Neighbour.MAC,
	}))
}

// neverPasses counts datagrams of the guest from an address that is none of its own, sent without a pause, and fails
// the test at its end if any arrived.
func (h *learningHost) neverPasses(guest *lab.Guest, source string) {
	h.Helper()
	text := fmt.Sprintf("udp %s:4000 > %s:9 len 5", source, h.Neighbour.IPv4)
	frame, err := packet.FromText(text, packet.Ends{Src: guest.MAC, Dst: h.Neighbour.MAC})
	h.must(err)
	from, err := guest.OpenFrames(lab.GuestDevice)
	h.must(err)
	to, err := h.Neighbour.OpenFrames(lab.GuestDevice)
	h.must(err)
	ctx, stop := context.WithCancel(h.Context())
	var arrived, sent atomic.Int64
	receiving, sending := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(receiving)
		for ctx.Err() == nil {
			if _, err := to.Receive(ctx, func(got []byte) bool { return bytes.Equal(got, frame) }); err == nil {
				arrived.Add(1)
			}
		}
	}()
	go func() {
		defer close(sending)
		for ctx.Err() == nil && from.Send(frame) == nil {
			sent.Add(1)
			time.Sleep(2 * time.Millisecond)
		}
	}()
	h.Cleanup(func() {
		stop()
		<-sending
		<-receiving
		if n := arrived.Load(); n > 0 {
			h.Errorf("%d datagrams of %d passed with the source address %s, which %s does not have", n, sent.Load(), source, guest.Port)
		}
	})
}

// TestLearnsFromTheFirstPing: the guest's first packet after it was bound teaches its address, and is
// answered.
func TestLearnsFromTheFirstPing(t *testing.T) {
	tries := 10
	if testing.Short() {
		tries = 2
	}
	for source, prepare := range map[string]func(*learningHost){
		"arp":  func(h *learningHost) { h.must(h.Guest.FlushNeighbours()) },
		"ipv4": func(h *learningHost) { h.knowsNeighbour(h.Guest) },
	} {
		t.Run(source, func(t *testing.T) {
			h := newLearningHost(t)
			for n := range tries {
				prepare(h)
				h.learn(h.Guest, "clean-traffic")
				begin := time.Now()
				if err := lab.Ping(t.Context(), h.Guest.Namespace, h.Neighbour.IPv4); err != nil {
					t.Errorf("try %d: the first ping is lost: %v", n, err)
				}
				answered := time.Since(begin)
				leases := h.learned("guest0", "10.77.0.11")
				if l := leases["10.77.0.11"]; l.Source != source && source == "ipv4" || l.End != nil {
					t.Errorf("the lease is %+v", l)
				}
				if n == 0 {
					t.Logf("answered after %s", answered)
				}
				if h.passes(h.Guest, "10.77.0.12") {
					t.Error("another address passes afterwards")
				}
				if !h.passes(h.Guest, "10.77.0.11") {
					t.Error("its address does not pass afterwards")
				}
				h.must(h.Unbind(t.Context(), "guest0"))
			}
		})
	}
}

// TestWhatDoesNotTeach sends what must not be taken for a claim.
func TestWhatDoesNotTeach(t *testing.T) {
	h := newLearningHost(t)
	h.learn(h.Guest, "clean-traffic")
	own, other := h.Guest.MAC, net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x77}
	address, none := netip.MustParseAddr("10.77.0.12"), netip.IPv4Unspecified()
	udp := func(mac net.HardwareAddr, from string) []byte {
		return lab.UDPFrame(mac, h.Neighbour.MAC, netip.AddrPortFrom(netip.MustParseAddr(from), 4000), h.Neighbour.At(9), []byte("claim"))
	}
	for name, frame := range map[string][]byte{
		"an ARP probe":                      lab.ARPFrame(own, lab.Broadcast, layers.ARPRequest, own, none, make([]byte, 6), address),
		"ARP of another sender":             lab.ARPFrame(own, lab.Broadcast, layers.ARPRequest, other, address, make([]byte, 6), h.Neighbour.IPv4),
		"ARP from another device":           lab.ARPFrame(other, lab.Broadcast, layers.ARPRequest, own, address, make([]byte, 6), h.Neighbour.IPv4),
		"IPv4 from another device":          udp(other, "10.77.0.12"),
		"IPv4 from no address":              udp(own, "0.0.0.0"),
		"IPv4 from a multicast address":     udp(own, "224.0.0.5"),
		"IPv4 from the broadcast address":   udp(own, "255.255.255.255"),
		"IPv4 from a loopback address":      udp(own, "127.0.0.1"),
		"a DHCP answer made by the guest":   lab.DHCPReply(own, none, own, 5, address, time.Hour),
		"a frame of an unknown kind":        lab.EtherTypeFrame(own, lab.Broadcast, lab.UnknownEtherType, make([]byte, 50)),
		"a DHCPDISCOVER":                    lab.DHCPRequest(own, 1),
		"an IPv6 neighbour solicitation":    lab.NeighbourSolicitation(own, lab.LinkLocal(own), h.Neighbour.IPv6),
		"a DHCPREQUEST that nobody answers": lab.DHCPRequest(own, 3),
	} {
		sender, err := h.Guest.OpenFrames(lab.GuestDevice)
		h.must(err)
		h.must(sender.Send(frame))
		h.must(sender.Close())
		time.Sleep(30 * time.Millisecond) // as long as learning would take
		if leases := h.leases("guest0"); len(leases) > 0 {
			t.Fatalf("%s teaches %v", name, leases)
		}
	}
	if h.port("guest0").State != "learning" {
		t.Error("it has learned")
	}
	if h.arrives("in", "udp 10.77.0.20:4000 > 10.77.0.11:9 len 5") {
		t.Error("a guest whose address is not known receives")
	}
	// What was learned lasts as long as the binding: nobody speaks first a second time.
	h.must(lab.Ping(t.Context(), h.Guest.Namespace, h.Neighbour.IPv4))
	h.learned("guest0", "10.77.0.11")
	for _, frame := range [][]byte{udp(own, "10.77.0.12"), lab.ARPFrame(own, lab.Broadcast, layers.ARPRequest, own, address, make([]byte, 6), h.Neighbour.IPv4)} {
		if h.goesOut(h.Guest, frame) {
			t.Error("another address passes")
		}
	}
	h.learned("guest0", "10.77.0.11")
}

// TestLearnsFromATaggedPacket: libvirt does too.
func TestLearnsFromATaggedPacket(t *testing.T) {
	h := newLearningHost(t)
	h.learn(h.Guest, "clean-traffic")
	frame := lab.UDPFrame(h.Guest.MAC, h.Neighbour.MAC, h.Guest.At(4000), h.Neighbour.At(9), []byte("claim"))
	tagged := slices.Concat(frame[:12], []byte{0x81, 0, 0, 7}, frame[12:])
	sender, err := h.Guest.OpenFrames(lab.GuestDevice)
	h.must(err)
	h.must(sender.Send(tagged))
	h.learned("guest0", "10.77.0.11")
}

// TestNobodyTakesANeighboursAddress: a guest says that it has the address of another one on the bridge, and the
// one that the host has there.
func TestNobodyTakesANeighboursAddress(t *testing.T) {
	h := newLearningHost(t)
	h.must(h.AddHostAddress(netip.MustParsePrefix("10.77.0.1/24")))
	h.learn(h.Guest, "clean-traffic")
	h.must(lab.Ping(t.Context(), h.Guest.Namespace, h.Neighbour.IPv4))
	taken := h.Guest.IPv4.String()
	h.learned("guest0", taken)
	h.learn(h.client, "clean-traffic")
	sender, err := h.client.OpenFrames(lab.GuestDevice)
	h.must(err)
	for _, other := range []netip.Addr{h.Guest.IPv4, netip.MustParseAddr("10.77.0.1")} {
		h.must(sender.Send(lab.ARPFrame(h.client.MAC, lab.Broadcast, layers.ARPRequest, h.client.MAC, other, make([]byte, 6), h.Neighbour.IPv4)))
		if h.passes(h.client, other.String()) {
			t.Errorf("%s passes, which another has", other)
		}
	}
	h.learned("client0")
	if !h.passes(h.client, "10.77.0.40") { // its own, afterwards
		t.Error("an address that nobody has does not pass")
	}
	h.learned("client0", "10.77.0.40")
}
