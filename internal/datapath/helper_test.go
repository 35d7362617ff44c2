package datapath

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/eval"
	"tapgate/internal/packet"
)

// conversation is a control connection of which random packets are drawn.
type conversation struct {
	service  conntrack.Service
	ends     [2]netip.AddrPort // client, server
	next     [2]uint32
	opened   int // packets of the handshake so far
	clientIn bool
}

func drawConversation(t *source) *conversation {
	services := conntrack.DefaultServices()
	c := &conversation{service: oneOf(t, services), next: [2]uint32{1000, 5000}, clientIn: t.chance(50)}
	hosts := []string{"10.0.0.1", "10.0.0.2"}
	if t.chance(30) {
		hosts = []string{"fd00::1", "fd00::2"}
	}
	if c.clientIn {
		slices.Reverse(hosts)
	}
	client := oneOf(t, []uint16{1024, 40000, 40000, 40000})
	c.ends[0] = netip.AddrPortFrom(netip.MustParseAddr(hosts[0]), client)
	c.ends[1] = netip.AddrPortFrom(netip.MustParseAddr(hosts[1]), c.service.Port)
	return c
}

// packet is the next packet of the conversation: TCP's handshake first.
func (c *conversation) packet(t *source) (frame []byte, out bool) {
	const syn, ack, push, fin = 2, 16, 8, 1
	from := t.between(0, 1)
	if c.service.Proto == packet.ProtoUDP {
		payload := drawControl(t, c.service.Helper, c.ends[from].Addr())
		return controlFrame(c.service.Proto, c.ends[from], c.ends[1-from], udpHeader(len(payload)), payload), c.isOut(from)
	}
	flags, seq, payload := byte(ack), uint32(0), []byte(nil)
	switch c.opened {
	case 0:
		from, flags = 0, syn
	case 1:
		from, flags = 1, syn|ack
	case 2:
		from = 0
	default:
		flags |= push
		payload = drawControl(t, c.service.Helper, c.ends[from].Addr())
		if t.chance(10) { // a line goes on in the next segment
			payload = payload[:t.between(0, len(payload))]
		}
		if t.chance(1) {
			flags |= fin
		}
	}
	seq = c.next[from]
	if c.opened > 2 && t.chance(15) {
		seq += uint32(oneOf(t, []int{-20, -5, -1, 1, 5}))
	}
	c.opened++
	c.next[from] = seq + uint32(len(payload)) + uint32(flags>>1&1)
	h := be.AppendUint32(nil, seq)
	h = be.AppendUint32(h, c.next[1-from])
	h = append(h, 5<<4, flags, 0x20, 0, 0, 0, 0, 0)
	return controlFrame(c.service.Proto, c.ends[from], c.ends[1-from], h, payload), c.isOut(from)
}

func (c *conversation) isOut(from int) bool { return (from == 0) != c.clientIn }

// probe is a packet that the conversation may have announced.
func (c *conversation) probe(t *source) (frame []byte, out bool) {
	to := t.between(0, 1)
	dst := netip.AddrPortFrom(c.ends[to].Addr(), oneOf(t, append([]uint16{c.ends[0].Port()}, poolData...)))
	src := netip.AddrPortFrom(c.ends[1-to].Addr(), uint16(t.between(2000, 60000)))
	if t.chance(30) {
		strangers := []string{"10.0.0.3", "0.0.0.0"}
		if src.Addr().Is6() {
			strangers = []string{"fd00:0:0:1::1", "::"}
		}
		src = netip.AddrPortFrom(netip.MustParseAddr(oneOf(t, strangers)), src.Port())
	}
	if t.chance(50) {
		return controlFrame(packet.ProtoUDP, src, dst, udpHeader(0), nil), c.isOut(1 - to)
	}
	h := []byte{0, 0, 0, 9, 0, 0, 0, 0, 5 << 4, oneOf(t, []byte{2, 2, 2, 17}), 0x20, 0, 0, 0, 0, 0}
	return controlFrame(packet.ProtoTCP, src, dst, h, nil), c.isOut(1 - to)
}

func udpHeader(payload int) []byte {
	return append(be.AppendUint16(nil, uint16(8+payload)), 0, 0)
}

// controlFrame is a frame with the ports in front of the rest of the transport
// header.
func controlFrame(proto uint8, src, dst netip.AddrPort, header, payload []byte) []byte {
	body := be.AppendUint16(nil, src.Port())
	body = slices.Concat(be.AppendUint16(body, dst.Port()), header, payload)
	frame := slices.Concat(guestMAC, []byte{0x52, 0x54, 0, 0, 0, 0x99})
	if src.Addr().Is6() {
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0)
		frame = append(be.AppendUint16(frame, uint16(len(body))), proto, 64)
		return slices.Concat(frame, src.Addr().AsSlice(), dst.Addr().AsSlice(), body)
	}
	ip := append([]byte{0x45, 0}, be.AppendUint16(nil, uint16(20+len(body)))...)
	ip = append(ip, 0, 0, 0, 0, 64, proto, 0, 0)
	ip = slices.Concat(ip, src.Addr().AsSlice(), dst.Addr().AsSlice())
	be.PutUint16(ip[10:], ^checksum(ip))
	return slices.Concat(frame, []byte{0x08, 0x00}, ip, body)
}

// TestEnginesHearTheSame gives hostile control connections of all helpers to
// both engines, and packets that they may have announced: states and directions
// must be the same. It goes on until something that each helper announced was tried.
func TestEnginesHearTheSame(t *testing.T) {
	needRoot(t)
	p := resolve(t, trackingPolicy)
	related := map[conntrack.Helper]int{}
	var tester *tracker
	sequences := 0
	hear := func(rt *rapid.T) {
		if sequences%200 == 0 { // nobody sweeps a test's table
			tester = newTracker(t, p, Config{})
		}
		sequences++
		if err := tester.Reset(); err != nil {
			rt.Fatal(err)
		}
		s := newSource(rt)
		both := &engines{tester: tester.Tester, eval: eval.New(p, conntrack.Config{PickUp: true})}
		conversations := []*conversation{drawConversation(s), drawConversation(s), drawConversation(s)}
		now := int64(1e9)
		for i := range 200 {
			now += oneOf(s, []int64{20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 29e9, 179e9})
			c := oneOf(s, conversations)
			frame, out := c.probe(s)
			if i < 10 || s.chance(60) {
				frame, out = c.packet(s)
			}
			evaluated, ran, r := both.run(rt, frame, out, now)
			if evaluated != ran {
				rt.Fatalf("packet %d, out %v: %s\nevaluator: %+v\n   kernel: %+v\n%+v", i, out, hex.EncodeToString(frame), evaluated, ran, r.Packet)
			}
			if ran.State == packet.StateRelated {
				related[announcer(both.eval.Connections(), now)]++
			}
		}
	}
	untried := func(h conntrack.Helper) bool { return related[h] == 0 }
	for range enoughRounds {
		rapid.Check(t, hear)
		// A short run makes too few draws to meet everything.
		if testing.Short() || !slices.ContainsFunc(helpers, untried) {
			break
		}
	}
	t.Logf("related %v after %d sequences", related, sequences)
	for _, h := range helpers {
		if untried(h) && !testing.Short() {
			t.Errorf("nothing that %s announced was tried", h)
		}
	}
}

// enoughRounds is how often TestEnginesHearTheSame draws anew. Of the helpers FTP is
// met least: one round of 25 sequences in nine misses it, twenty never do.
const enoughRounds = 20

// announcer is the helper that announced the newest connection.
func announcer(table *conntrack.Table, now int64) conntrack.Helper {
	for c := range table.All(now) {
		if c.Created == now && c.Expected {
			return c.Announced.By
		}
	}
	return conntrack.NoHelper
}
