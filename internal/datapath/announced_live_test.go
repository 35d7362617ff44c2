package datapath

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"tapgate/internal/lab"
)

// announcedOnly is a filter that lets a control protocol through and of everything else only what
// belongs to connections that there are, or that were announced.
func announcedOnly(direction, transport string, port uint16) string {
	var rules strings.Builder
	for _, family := range []string{"", "-ipv6"} {
		fmt.Fprintf(&rules, `<rule action="accept" direction="%s"><%s%s dstportstart="%d" state="NEW,ESTABLISHED"/></rule>
  <rule action="accept" direction="inout"><all%[3]s state="ESTABLISHED,RELATED"/></rule>
  <rule action="drop" direction="inout" priority="900"><all%[3]s/></rule>
  `, direction, transport, family, port)
	}

	return `<filter name="announced-only">
  ` + rules.String() + `<rule action="accept" direction="inout"><icmpv6/></rule>
</filter>`
}

// exchange is one run of a protocol that announces connections. Nothing in it is sent again by a
// program of the lab, so that it fails when a packet is lost; what TCP sends again is counted.
type exchange struct {
	name      string
	direction string // of the control connection
	transport string
	port      uint16
	serve     func(*live) error // starts what must be there before the port is guarded
	run       func(context.Context, *live) error
}

func exchanges() []exchange {
	all := []exchange{
		{"ftp", "in", "tcp", lab.FTPPort, (*live).serveFTP, func(ctx context.Context, l *live) error {
			for _, mode := range []lab.FTPMode{lab.ActivePORT, lab.ActiveEPRT, lab.PassivePASV, lab.PassiveEPSV} {
				if err := lab.FTP(ctx, l.Neighbour.Namespace, l.Guest.At(lab.FTPPort), mode); err != nil {
					return err
				}
			}
			return lab.FTP(ctx, l.Neighbour.Namespace, l.Guest.At6(lab.FTPPort), lab.ActiveEPRT)
		}},
		{"tftp, the client guarded", "out", "udp", lab.TFTPPort, (*live).serveTFTPThere, func(ctx context.Context, l *live) error {
			return lab.TFTP(ctx, l.Guest.Namespace, l.Neighbour.At(lab.TFTPPort))
		}},
		{"tftp over IPv6, the server guarded", "in", "udp", lab.TFTPPort, (*live).serveTFTPHere, func(ctx context.Context, l *live) error {
			return lab.TFTP(ctx, l.Neighbour.Namespace, l.Guest.At6(lab.TFTPPort))
		}},
		{"amanda, the client guarded", "in", "udp", lab.AmandaPort, (*live).serveAmandaHere, func(ctx context.Context, l *live) error {
			return lab.Amanda(ctx, l.Neighbour.Namespace, l.Guest.At(lab.AmandaPort))
		}},
		{"amanda over IPv6, the server guarded", "out", "udp", lab.AmandaPort, (*live).serveAmandaThere, func(ctx context.Context, l *live) error {
			return lab.Amanda(ctx, l.Guest.Namespace, l.Neighbour.At6(lab.AmandaPort))
		}},
		{"sip, called back by the registrar", "out", "udp", lab.SIPPort, nil, func(ctx context.Context, l *live) error {
			return lab.SIPCallback(ctx, l.Guest, l.Neighbour, false)
		}},
	}
	for _, transport := range []string{"udp", "tcp"} {
		all = append(all,
			exchange{"sip by " + transport + ", the caller guarded", "out", transport, lab.SIPPort, nil, func(ctx context.Context, l *live) error {
				return lab.SIPCall(ctx, l.Guest, l.Neighbour, transport, false)
			}},
			exchange{"sip by " + transport + " over IPv6, the callee guarded", "in", transport, lab.SIPPort, nil, func(ctx context.Context, l *live) error {
				return lab.SIPCall(ctx, l.Neighbour, l.Guest, transport, true)
			}})
	}
	return all
}

func (l *live) serveFTP() error         { return l.ServeFTP(l.Guest) }
func (l *live) serveTFTPHere() error    { return l.ServeTFTP(l.Guest) }
func (l *live) serveTFTPThere() error   { return l.ServeTFTP(l.Neighbour) }
func (l *live) serveAmandaHere() error  { return l.ServeAmanda(l.Guest) }
func (l *live) serveAmandaThere() error { return l.ServeAmanda(l.Neighbour) }

const exchangesInARow = 100

func TestTheFirstPacketOfAnAnnouncedConnectionArrives(t *testing.T) {
	for _, e := range exchanges() {
		t.Run(e.name, func(t *testing.T) {
			l := newLive(t, Automatic)
			if e.serve != nil {
				if err := e.serve(l); err != nil {
					t.Fatal(err)
				}
			}
			l.guard(l.Guest.Port, resolve(t, announcedOnly(e.direction, e.transport, e.port)))
			l.nothingLost(func() error { return e.run(t.Context(), l) })
			l.unannouncedDropped()
		})
	}
}

func TestFilesOverIRC(t *testing.T) {
	l := newLive(t, Automatic)
	if err := l.ServeIRC(l.Neighbour); err != nil {
		t.Fatal(err)
	}
	l.guard(l.Guest.Port, resolve(t, announcedOnly("out", "tcp", lab.IRCPort)))
	client := func(guest *lab.Guest, name string) *lab.IRCClient {
		c, err := lab.DialIRC(t.Context(), guest.Namespace, l.Neighbour.At(lab.IRCPort), name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	sender, receiver := client(l.Guest, "sender"), client(l.Neighbour, "receiver")
	l.nothingLost(func() error { return sender.SendFile(t.Context(), receiver) })
	l.unannouncedDropped()
}

// nothingLost runs an exchange again and again, and fails if one does or if a
// connection's first packet had to be sent again.
func (l *live) nothingLost(run func() error) {
	l.t.Helper()
	for i := range exchangesInARow {
		if err := run(); err != nil {
			l.t.Fatalf("exchange %d of %d: %v", i+1, exchangesInARow, err)
		}
	}
	for _, guest := range []*lab.Guest{l.Guest, l.Neighbour} {
		again, err := guest.SYNRetransmissions()
		if err != nil {
			l.t.Fatal(err)
		}
		if again != 0 {
			l.t.Errorf("%s sent %d SYN segments again", guest.Name(), again)
		}
	}
}

// unannouncedDropped tries ports that nobody has told, all at a time because
// each takes its time to be missed.
func (l *live) unannouncedDropped() {
	l.t.Helper()
	const port = 19999
	syn := layers.TCP{SrcPort: 4000, DstPort: port, SYN: true, Window: 1000}
	var all sync.WaitGroup
	for _, way := range [][2]*lab.Guest{{l.Guest, l.Neighbour}, {l.Neighbour, l.Guest}} {
		from, to := way[0], way[1]
		for _, frame := range [][]byte{
			lab.UDPFrame(from.MAC, to.MAC, from.At(4000), to.At(port), []byte("unannounced")),
			lab.TCPFrame(from.MAC, to.MAC, from.IPv4, to.IPv4, syn, nil),
			lab.UDPFrame(from.MAC, to.MAC, from.At6(4000), to.At6(port), []byte("unannounced")),
		} {
			all.Go(func() {
				if err := lab.Arrives(l.t.Context(), from, to, frame); !lab.NoAnswer(err) {
					l.t.Errorf("%s sent % x: %v, want it dropped", from.Name(), frame[14:], err)
				}
			})
		}
	}
	all.Wait()
}
