package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/internal/reject"
)

// Each rejects one direction and drops everything in the other, answers
// included: IPv4 and IPv6 wholly, at the link stage.
const (
	rejectOut = `<filter name="reject-out">
  <rule action="reject" direction="out" statematch="false"><all/></rule>
  <rule action="reject" direction="out" statematch="false"><all-ipv6/></rule>
  <rule action="drop" direction="in"><ip/></rule>
  <rule action="drop" direction="in"><ipv6/></rule>
</filter>`
	rejectIn = `<filter name="reject-in">
  <rule action="reject" direction="in" statematch="false"><all/></rule>
  <rule action="reject" direction="in" statematch="false"><all-ipv6/></rule>
  <rule action="drop" direction="out"><ip/></rule>
  <rule action="drop" direction="out"><ipv6/></rule>
</filter>`
)

// rejected tries both protocols to servers that would answer, over both IP
// versions.
func (l *live) rejected(from *lab.Namespace, to *lab.Guest, v6 bool) {
	l.t.Helper()
	before, err := from.SYNRetransmissions()
	if err != nil {
		l.t.Fatal(err)
	}
	tcp := []netip.AddrPort{to.At(lab.HTTPPort)}
	udp := []netip.AddrPort{to.At(lab.EchoPort)}
	if v6 {
		tcp, udp = append(tcp, to.At6(lab.HTTPPort)), append(udp, to.At6(lab.EchoPort))
	}
	for _, server := range tcp {
		if err := lab.ConnectTCP(l.t.Context(), from, server); !errors.Is(err, unix.ECONNREFUSED) {
			l.t.Errorf("TCP to %s: %v, want connection refused", server, err)
		}
	}
	for _, server := range udp {
		if err := lab.Echo(l.t.Context(), from, server); !errors.Is(err, unix.ECONNREFUSED) {
			l.t.Errorf("UDP to %s: %v, want connection refused", server, err)
		}
	}
	after, err := from.SYNRetransmissions()
	if err != nil {
		l.t.Fatal(err)
	}
	if after != before {
		l.t.Errorf("%d SYN segments had to be sent again", after-before)
	}
}

// know makes a guest know the other's MAC address for good, without asking.
func (l *live) know(guest, other *lab.Guest) {
	l.t.Helper()
	dev, err := guest.Links().LinkByName(lab.GuestDevice)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, ip := range []netip.Addr{other.IPv4, other.IPv6} {
		err := guest.Links().NeighSet(&netlink.Neigh{
			LinkIndex: dev.Attrs().Index, State: unix.NUD_PERMANENT,
			IP: ip.AsSlice(), HardwareAddr: other.MAC,
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

func newRejecting(t *testing.T, mechanism Mechanism) *live {
	t.Helper()
	l := newLive(t, mechanism)
	for _, guest := range []*lab.Guest{l.Guest, l.Neighbour} {
		if err := errors.Join(l.ServeHTTP(guest, lab.HTTPPort), l.ServeEcho(guest, lab.EchoPort)); err != nil {
			t.Fatal(err)
		}
	}
	l.know(l.Guest, l.Neighbour)
	l.know(l.Neighbour, l.Guest)
	return l
}

func TestRejectedConnectionsAreRefusedAtOnce(t *testing.T) {
	for _, mechanism := range mechanisms {
		for _, offload := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/offload %v", mechanism, offload), func(t *testing.T) {
				l := newRejecting(t, mechanism)
				for _, guest := range []*lab.Guest{l.Guest, l.Neighbour} {
					if err := guest.SetChecksumOffload(lab.GuestDevice, offload); err != nil {
						t.Fatal(err)
					}
				}
				l.guard(l.Guest.Port, resolve(t, rejectOut))
				l.rejected(l.Guest.Namespace, l.Neighbour, true)
				before := l.stats(l.Guest.Port)
				if before.OutAnswers.Sent != 4 || before.InAnswers.Sent > 0 {
					t.Errorf("answers: out %+v, in %+v", before.OutAnswers, before.InAnswers)
				}
				l.guard(l.Guest.Port, resolve(t, rejectIn))
				l.rejected(l.Neighbour.Namespace, l.Guest, true)
				if after := l.stats(l.Guest.Port); after.InAnswers.Sent != 4 || after.OutAnswers != before.OutAnswers {
					t.Errorf("answers: in %+v, out %+v", after.InAnswers, after.OutAnswers)
				}
				l.guard(l.Guest.Port, resolve(t, acceptAll))
				if err := lab.ConnectTCP(t.Context(), l.Neighbour.Namespace, l.Guest.At(lab.HTTPPort)); err != nil {
					t.Errorf("accepted again: %v", err)
				}
				l.release(l.Guest.Port)
				l.empty()
			})
		}
	}
}

// The host itself is told, too.
func TestTheHostsConnectionsAreRefusedAtOnce(t *testing.T) {
	l := newRejecting(t, TCX)
	if err := l.AddHostAddress(netip.MustParsePrefix("10.77.0.1/24")); err != nil {
		t.Fatal(err)
	}
	l.guard(l.Guest.Port, resolve(t, `<filter name="x">
  <rule action="reject" direction="in" statematch="false"><tcp/></rule>
  <rule action="reject" direction="in" statematch="false"><udp/></rule>
  <rule action="drop" direction="out"><ip/></rule>
</filter>`))
	l.rejected(l.Lab.Host, l.Guest, false)
}

// A reset ends a connection in the middle of its data, which the guest hands
// over in merged segments.
func TestRejectedDataResetsTheConnection(t *testing.T) {
	l := newRejecting(t, TCX)
	if err := l.Guest.SetChecksumOffload(lab.GuestDevice, true); err != nil {
		t.Fatal(err)
	}
	listener, err := l.Neighbour.Listen(l.Neighbour.At(7))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := l.Guest.Dial(t.Context(), "tcp", l.Neighbour.At(7))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l.guard(l.Guest.Port, resolve(t, rejectOut))
	if err := conn.SetDeadline(time.Now().Add(lab.ProbeTimeout)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Write(make([]byte, 1<<20))
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("%v, want connection reset", err)
	}
}

// answerTo is what the port's guest must be answered with.
func answerTo(t *testing.T, frame []byte, out bool, guest net.HardwareAddr) []byte {
	t.Helper()
	p := packet.Decode(frame, out)
	answer := reject.Answer(&p, guest)
	if answer == nil {
		t.Fatalf("%x is not answered", frame)
	}
	return answer
}

type receiver interface {
	Receive(ctx context.Context, match func([]byte) bool) ([]byte, error)
}

// answered checks that exactly the answer to a frame comes back.
func answered(t *testing.T, r receiver, want []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lab.ArrivalTimeout)
	defer cancel()
	var others [][]byte
	_, err := r.Receive(ctx, func(got []byte) bool {
		others = append(others, got)
		return bytes.Equal(got, want)
	})
	if err != nil {
		t.Errorf("no answer %x, but %x: %v", want, others, err)
	}
}

func (l *live) segment(payload int) []byte {
	return lab.TCPFrame(l.Guest.MAC, l.Neighbour.MAC, l.Guest.IPv4, l.Neighbour.IPv4,
		layers.TCP{SrcPort: 4000, DstPort: 80, ACK: true, Seq: 70, Ack: 7000, Window: 1000}, make([]byte, payload))
}

// Packets as vhost and tap hand them over: in page fragments, with checksums
// left to be finished, merged.
func TestATapsPacketsAreAnsweredWhateverTheirForm(t *testing.T) {
	for _, test := range []struct {
		name   string
		config lab.TapConfig
		send   func(*lab.Tap, []byte) error
		size   int
	}{
		{"linear", lab.TapConfig{}, func(tap *lab.Tap, f []byte) error { return tap.Send(f) }, 100},
		{"no payload", lab.TapConfig{}, func(tap *lab.Tap, f []byte) error { return tap.Send(f) }, 0},
		{"page fragments", lab.TapConfig{Fragments: true}, func(tap *lab.Tap, f []byte) error { return tap.Send(f[:14], f[14:40], f[40:]) }, 1400},
		{"unfinished checksum", lab.TapConfig{VnetHeader: true}, func(tap *lab.Tap, f []byte) error {
			return tap.SendVnet(lab.VnetHeader{Flags: unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, CsumStart: 34, CsumOffset: 16}, f)
		}, 100},
		{"unfinished checksum without payload", lab.TapConfig{VnetHeader: true}, func(tap *lab.Tap, f []byte) error {
			return tap.SendVnet(lab.VnetHeader{Flags: unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, CsumStart: 34, CsumOffset: 16}, f)
		}, 0},
		{"merged", lab.TapConfig{VnetHeader: true}, func(tap *lab.Tap, f []byte) error {
			return tap.SendVnet(lab.VnetHeader{
				Flags: unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, CsumStart: 34, CsumOffset: 16,
				GSOType: unix.VIRTIO_NET_HDR_GSO_TCPV4, GSOSize: 1400, HdrLen: 54,
			}, f)
		}, 30000},
		{"page fragments, merged", lab.TapConfig{VnetHeader: true, Fragments: true}, func(tap *lab.Tap, f []byte) error {
			return tap.SendVnet(lab.VnetHeader{
				Flags: unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, CsumStart: 34, CsumOffset: 16,
				GSOType: unix.VIRTIO_NET_HDR_GSO_TCPV4, GSOSize: 1400, HdrLen: 54,
			}, f[:54], f[54:3000], f[3000:])
		}, 6000},
	} {
		for _, mechanism := range mechanisms {
			t.Run(test.name+"/"+string(mechanism), func(t *testing.T) {
				l := newLive(t, mechanism)
				test.config.Name = "tap0"
				tap, err := l.AddTap(t.Context(), test.config)
				if err != nil {
					t.Fatal(err)
				}
				l.guard(tap.Name, resolve(t, rejectOut))
				frame := l.segment(test.size)
				if err := test.send(tap, frame); err != nil {
					t.Fatal(err)
				}
				answered(t, tap, answerTo(t, frame, true, l.Guest.MAC))
			})
		}
	}
}

func TestAnswersToASenderArriveUnchanged(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newRejecting(t, mechanism)
			l.guard(l.Guest.Port, resolve(t, rejectIn))
			conn, err := l.Neighbour.OpenFrames(lab.GuestDevice)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, frame := range [][]byte{
				l.reply(9, "x"),
				lab.UDPFrame(l.Neighbour.MAC, l.Guest.MAC, l.Neighbour.At6(9), l.Guest.At6(4000), make([]byte, 1400)),
				lab.TCPFrame(l.Neighbour.MAC, l.Guest.MAC, l.Neighbour.IPv6, l.Guest.IPv6, layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}, nil),
			} {
				if err := conn.Send(frame); err != nil {
					t.Fatal(err)
				}
				answered(t, conn, answerTo(t, frame, false, l.Guest.MAC))
			}
		})
	}
}

// On a macvtap the sides are exchanged: what the guest sends is transmitted.
func TestAnswersOnAMacvtap(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x77}
			addMacvtap(t, l.Guest, mac)
			guard := func(xml string) {
				t.Helper()
				p := resolve(t, xml)
				p.MAC = mac
				err := l.Guest.Do(func() error {
					_, err := l.host.Guard(t.Context(), "macvtap0", p, Meta{})
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			guest, err := l.Guest.OpenFrames("macvtap0")
			if err != nil {
				t.Fatal(err)
			}
			defer guest.Close()
			neighbour, err := l.Neighbour.OpenFrames(lab.GuestDevice)
			if err != nil {
				t.Fatal(err)
			}
			defer neighbour.Close()

			guard(rejectOut)
			out := lab.UDPFrame(mac, l.Neighbour.MAC, l.Guest.At(1), l.Neighbour.At(9), []byte("out"))
			// The sender is told when a program takes what it transmits.
			if err := guest.Send(out); err != nil && !errors.Is(err, unix.ENOBUFS) {
				t.Fatal(err)
			}
			answered(t, guest, answerTo(t, out, true, mac))

			guard(rejectIn)
			in := lab.UDPFrame(l.Neighbour.MAC, mac, l.Neighbour.At(1), l.Guest.At(9), []byte("in"))
			if err := neighbour.Send(in); err != nil {
				t.Fatal(err)
			}
			answered(t, neighbour, answerTo(t, in, false, mac))
			var ports []Port
			err = l.Guest.Do(func() (err error) {
				ports, err = l.host.Ports(t.Context())
				return err
			})
			if err != nil || len(ports) != 1 || ports[0].State != Guarded {
				t.Errorf("ports %+v, error %v", ports, err)
			}
		})
	}
}

// addMacvtap puts a macvtap on the guest's own NIC, whose cable leads to the
// bridge.
func addMacvtap(t *testing.T, guest *lab.Guest, mac net.HardwareAddr) {
	t.Helper()
	links := guest.Links()
	lower, err := links.LinkByName(lab.GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	err = links.LinkAdd(&netlink.Macvtap{Macvlan: netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "macvtap0", ParentIndex: lower.Attrs().Index, HardwareAddr: mac},
		Mode:      netlink.MACVLAN_MODE_BRIDGE,
	}})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the kernel has no macvtap (CONFIG_MACVTAP)")
	}
	if err != nil {
		t.Fatal(err)
	}
	dev, err := links.LinkByName("macvtap0")
	if err != nil {
		t.Fatal(err)
	}
	if err := links.LinkSetUp(dev); err != nil {
		t.Fatal(err)
	}
}

// What must not be answered is not, and does not use up the limit.
func TestMulticastIsRejectedWithoutAnAnswer(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, rejectOut))
	conn, err := l.Guest.OpenFrames(lab.GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	group := net.HardwareAddr{1, 0, 0x5e, 0, 0, 0xfb}
	silent := lab.UDPFrame(l.Guest.MAC, group, l.Guest.At(5353), netip.MustParseAddrPort("224.0.0.251:5353"), []byte("x"))
	spoken := l.udp(9, "x")
	for _, frame := range [][]byte{silent, spoken} {
		if err := conn.Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	// The first answer that comes is the second frame's.
	ctx, cancel := context.WithTimeout(t.Context(), lab.ArrivalTimeout)
	defer cancel()
	got, err := conn.Receive(ctx, func(f []byte) bool { return f[12] == 8 && f[13] == 0 })
	if want := answerTo(t, spoken, true, l.Guest.MAC); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x: %v", got, want, err)
	}
	if s := l.stats(l.Guest.Port); s.OutAnswers != (Answers{Sent: 1}) {
		t.Errorf("answers %+v", s.OutAnswers)
	}
}
