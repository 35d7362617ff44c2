package conntrack

import (
	"math"
	"strings"
	"testing"
	"time"

	"tapgate/internal/packet"
)

// talk is a control connection between 10.0.0.1 (or fd00::1) and the helper's
// port of 10.0.0.2 (fd00::2) in a table of its own.
type talk struct {
	service Service
	table   *Table
	streams *Streams
	key     Key
	now     int64
	family  uint8
	client  packet.U128
	server  packet.U128
	port    uint16    // of the client
	next    [2]uint32 // sequence number of each direction
}

func newTalk(v6 bool) *talk { return newTalkOf(Service{FTP, packet.ProtoTCP, 21}, v6) }

func newTalkOf(service Service, v6 bool) *talk {
	k := &talk{service: service, table: NewTable(Config{}), now: int64(time.Hour), family: 4, port: 40000, next: [2]uint32{1000, 5000}}
	k.client, k.server = testAddress("10.0.0.1"), testAddress("10.0.0.2")
	if v6 {
		k.family, k.client, k.server = 6, testAddress("fd00::1"), testAddress("fd00::2")
	}
	k.streams = NewStreams(k.table)
	k.open()
	return k
}

// open puts an established connection from the client's port into the table.
func (k *talk) open() *Connection {
	p := k.segment(packet.Original, 0, "")
	k.key, _, _ = packetKey(&p)
	c := &Connection{Key: k.key, Created: k.now, Expires: math.MaxInt64, Helper: k.service.Helper}
	c.OriginB = k.key.BPort == k.port
	k.table.connections[k.key] = c
	return c
}

func (k *talk) segment(d packet.Direction, seq uint32, text string) packet.Packet {
	p := packet.Packet{
		Family: k.family, LinkProto: packet.ProtoTCP, Have: packet.HavePorts | packet.HaveTCP | packet.HaveTCPOptions,
		SrcIP: k.client, SrcPort: k.port, DstIP: k.server, DstPort: k.service.Port,
		State: packet.StateEstablished, Direction: d, TCPFlags: 0x18, TCPSeq: seq,
		L4Length: uint32(20 + len(text)), L4Header: 20, Frame: append(make([]byte, 20), text...), Now: k.now,
	}
	if k.service.Proto == packet.ProtoUDP {
		p.LinkProto, p.L4Length, p.L4Header = packet.ProtoUDP, uint32(8+len(text)), 8
		p.UDPLength, p.Frame = uint16(p.L4Length), p.Frame[12:]
	}
	if d == packet.Reply {
		p.SrcIP, p.DstIP, p.SrcPort, p.DstPort = p.DstIP, p.SrcIP, p.DstPort, p.SrcPort
	}
	return p
}

// send passes a segment that begins back bytes before the next one (ahead of
// it if negative).
func (k *talk) send(d packet.Direction, back int, text string) {
	p := k.segment(d, k.next[d-1]-uint32(back), text)
	k.streams.Watch(&p)
	k.next[d-1] = p.TCPSeq + uint32(len(text))
}

func (k *talk) say(text string)    { k.send(packet.Original, 0, text) }
func (k *talk) answer(text string) { k.send(packet.Reply, 0, text) }

// opens tells whether a connection from the server to this port of the client
// is expected; from the client to the server's if toServer.
func (k *talk) opens(port uint16, toServer bool) bool {
	p := k.segment(packet.Reply, 0, "")
	if toServer {
		p = k.segment(packet.Original, 0, "")
	}
	p.SrcPort, p.DstPort = 20, port
	return k.expected(&p)
}

func (k *talk) expected(p *packet.Packet) bool {
	_, ok := k.streams.Take(p)
	return ok
}

// record is what is kept of the control connection, nil if nothing is.
func (k *talk) record() *stream {
	if c := k.table.connections[k.key]; c != nil {
		return k.streams.recordOf(c)
	}
	return nil
}

// followed is how many records are in use.
func (s *Streams) followed() (n int) {
	for _, st := range s.records {
		if st != nil {
			n++
		}
	}
	return n
}

const (
	port1025 = "PORT 10,0,0,1,4,1\r\n"
	port1026 = "PORT 10,0,0,1,4,2\r\n"
	pasv1025 = "227 (10,0,0,2,4,1)\r\n"
)

func TestStream(t *testing.T) {
	for _, c := range []struct {
		fact string
		do   func(k *talk)
		want bool // an expectation at port 1025 of the client
	}{
		{"nothing was said", func(k *talk) {}, false},
		{"the first segment counts", func(k *talk) { k.say(port1025) }, true},
		{"a command behind another in one segment", func(k *talk) { k.say("USER x\r\n" + port1025) }, true},
		{"a command that begins in the segment before", func(k *talk) { k.say("USER x\r\nPO"); k.say(port1025[2:]) }, true},
		{"a repeated segment is not read again", func(k *talk) { k.say("PORT "); k.send(packet.Original, 5, "PORT "); k.say(port1025[5:]) }, true},
		{"only new bytes of an overlap are read", func(k *talk) { k.say("PORT "); k.send(packet.Original, 3, "xx "+port1025[5:]) }, true},
		{"an old segment cannot change what was read", func(k *talk) {
			k.say("USER xxxxxxxxx\r\n")
			k.send(packet.Original, 16, "PORT 10,0,0,1,4,")
			k.say("1\r\n")
		}, false},
		{"a keep-alive is nothing new", func(k *talk) { k.say("PORT "); k.send(packet.Original, 1, "\n"); k.say(port1025[5:]) }, true},
		{"half the number space back is a gap", func(k *talk) { k.say("x\n"); k.send(packet.Original, math.MinInt32, "x\n"); k.say(port1025) }, true},
		{"a gap spoils its line", func(k *talk) { k.say("PORT 10,0,"); k.send(packet.Original, -2, "0,1,4,1\r\n") }, false},
		{"bytes behind a gap are no line's start", func(k *talk) { k.say("x\r\n"); k.send(packet.Original, -1, port1025) }, false},
		{"the line after a gap counts", func(k *talk) { k.say("x"); k.send(packet.Original, -9, "junk\r\n"+port1025) }, true},
		{"what fills a gap later is not read", func(k *talk) {
			k.say("x\r\n")
			k.send(packet.Original, -19, "x\r\n")
			k.send(packet.Original, 22, port1025)
		}, false},
		{"sequence numbers wrap", func(k *talk) { k.next[0] = 0xfffffffa; k.say("PORT 10"); k.say(port1025[7:]) }, true},
		{"a later announcement replaces the first", func(k *talk) { k.say(port1025 + port1026) }, false},
		{"in another segment too", func(k *talk) { k.say(port1025); k.say(port1026) }, false},
		{"in the other direction too", func(k *talk) { k.say(port1025); k.answer(pasv1025) }, false},
		{"a malformed one does not", func(k *talk) { k.say(port1025); k.say("PORT 10,0,0,9,4,2\r\n") }, true},
		{"the same again", func(k *talk) { k.say(port1025); k.say(port1025) }, true},
		{"directions are read apart", func(k *talk) { k.say("PORT 10,"); k.answer("220 hi\r\n"); k.say("0,0,1,4,1\r\n") }, true},
		{"an expectation lives 300 s", func(k *talk) { k.say(port1025); k.now += int64(300*time.Second) - 1 }, true},
		{"and no longer", func(k *talk) { k.say(port1025); k.now += int64(300 * time.Second) }, false},
		{"the same again prolongs it", func(k *talk) {
			k.say(port1025)
			k.now += int64(200 * time.Second)
			k.say(port1025)
			k.now += int64(200 * time.Second)
		}, true},
		{"an expectation is used up", func(k *talk) { k.say(port1025); k.opens(1025, false) }, false},
		{"and can be announced anew", func(k *talk) { k.say(port1025); k.opens(1025, false); k.say(port1025) }, true},
		{"an expectation ends with its master", func(k *talk) { k.say(port1025); k.table.connections[k.key].Expires = k.now }, false},
		{"an expectation ends with a swept master", func(k *talk) { k.say(port1025); delete(k.table.connections, k.key) }, false},
		{"a new connection with the old name does not inherit it", func(k *talk) { k.say(port1025); k.open() }, false},
		{"nor after it has spoken", func(k *talk) { k.say(port1025); k.open(); k.answer("220 hi\r\n") }, false},
		{"nor half a line", func(k *talk) { k.say("PORT "); k.open(); k.next[0] = 5; k.say(port1025[5:]) }, false},
		{"nor a position", func(k *talk) { k.say("USER x\r\n"); k.open(); k.next[0] = 900; k.say(port1025) }, true},
		{"picked up: the first line is not read", func(k *talk) { k.table.connections[k.key].TCP.beLiberal(); k.say(port1025) }, false},
		{"picked up: the second is", func(k *talk) { k.table.connections[k.key].TCP.beLiberal(); k.say("x\r\n" + port1025) }, true},
		{"a segment beyond 64 KiB is a gap", func(k *talk) { k.say(strings.Repeat("x", 65535) + "\n"); k.say(port1025) }, false},
		{"a segment of 64 KiB is read", func(k *talk) { k.say(strings.Repeat("x", 65534) + "\n"); k.say(port1025) }, true},
		{"the host's connection is gone", func(k *talk) { delete(k.table.connections, k.key); k.say(port1025) }, false},
	} {
		t.Run(c.fact, func(t *testing.T) {
			k := newTalk(false)
			c.do(k)
			if got := k.opens(1025, false); got != c.want {
				t.Errorf("port 1025 expected: %v, want %v", got, c.want)
			}
		})
	}
}

func TestExpectationIsNarrow(t *testing.T) {
	for _, c := range []struct {
		fact   string
		change func(p *packet.Packet)
		want   bool
	}{
		{"as announced", func(p *packet.Packet) {}, true},
		{"any source port", func(p *packet.Packet) { p.SrcPort = 65535 }, true},
		{"another source", func(p *packet.Packet) { p.SrcIP.Lo++ }, false},
		{"another upper half", func(p *packet.Packet) { p.SrcIP.Hi++ }, false},
		{"another destination", func(p *packet.Packet) { p.DstIP.Lo++ }, false},
		{"another port", func(p *packet.Packet) { p.DstPort++ }, false},
		{"another protocol", func(p *packet.Packet) { p.LinkProto = packet.ProtoUDP }, false},
		{"another family", func(p *packet.Packet) { p.Family = 6 }, false},
		{"the other way", func(p *packet.Packet) { p.SrcIP, p.DstIP = p.DstIP, p.SrcIP }, false},
		{"no ports", func(p *packet.Packet) { p.Have = 0 }, false},
	} {
		t.Run(c.fact, func(t *testing.T) {
			k := newTalk(false)
			k.say(port1025)
			p := k.segment(packet.Reply, 0, "")
			p.SrcPort, p.DstPort = 20, 1025
			c.change(&p)
			if got := k.expected(&p); got != c.want {
				t.Errorf("expected: %v, want %v", got, c.want)
			}
		})
	}
}

func TestWatchIgnores(t *testing.T) {
	for _, c := range []struct {
		fact   string
		change func(p *packet.Packet)
	}{
		{"a new connection", func(p *packet.Packet) { p.State = packet.StateNew }},
		{"a related connection", func(p *packet.Packet) { p.State = packet.StateRelated }},
		{"no direction", func(p *packet.Packet) { p.Direction = 0 }},
		{"a fragment", func(p *packet.Packet) { p.Fragment = packet.FragmentFirst }},
		{"a header that is cut", func(p *packet.Packet) { p.Have &^= packet.HaveTCPOptions }},
		{"a SYN", func(p *packet.Packet) { p.TCPFlags = 0x12 }},
		{"a reset", func(p *packet.Packet) { p.TCPFlags = 0x14 }},
		{"another protocol", func(p *packet.Packet) { p.LinkProto = packet.ProtoUDP }},
	} {
		t.Run(c.fact, func(t *testing.T) {
			k := newTalk(false)
			p := k.segment(packet.Original, k.next[0], port1025)
			c.change(&p)
			k.streams.Watch(&p)
			if k.opens(1025, false) || k.streams.followed() != 0 {
				t.Error("the segment was read")
			}
		})
	}
}

func TestDatagramsThatAreNotRead(t *testing.T) {
	for _, c := range []struct {
		fact   string
		change func(p *packet.Packet)
		want   bool
	}{
		{"as it is", func(p *packet.Packet) {}, true},
		{"of a related connection", func(p *packet.Packet) { p.State = packet.StateRelated }, true},
		{"an answer", func(p *packet.Packet) { p.Direction = packet.Reply }, true},
		{"without a connection", func(p *packet.Packet) { p.Direction = 0 }, false},
		{"a fragment", func(p *packet.Packet) { p.Fragment = packet.FragmentFirst }, false},
		{"bytes that UDP's length leaves out", func(p *packet.Packet) { p.UDPLength = 9 }, false},
		{"a length beyond the packet", func(p *packet.Packet) { p.UDPLength = 999 }, true},
		{"an ICMP error", func(p *packet.Packet) { p.LinkProto = packet.ProtoICMP }, false},
	} {
		t.Run(c.fact, func(t *testing.T) {
			k := newTalkOf(Service{TFTP, packet.ProtoUDP, 69}, false)
			p := k.segment(packet.Original, 0, "\x00\x01")
			p.State = packet.StateNew
			c.change(&p)
			k.streams.Watch(&p)
			if got := len(k.streams.index) != 0; got != c.want {
				t.Errorf("announced %v, want %v", got, c.want)
			}
		})
	}
}

func TestOneMasterCannotTakeBackAnothersExpectation(t *testing.T) {
	k := newTalk(false)
	k.say(port1025)
	other := *k
	other.port, other.next = 40001, [2]uint32{7, 8}
	other.open()
	other.say(port1025)
	k.say(port1026)
	if !k.opens(1025, false) {
		t.Error("the later master's expectation is gone")
	}
}

// A flood of control connections may cost other streams their place, but never
// makes the middle of a line look like its start, and nothing grows.
func TestFollowedConnectionsAreBounded(t *testing.T) {
	k := newTalk(false)
	k.say("PORT 10,0,0,1,")
	flood := *k
	for i := range 3 * followedConnections {
		flood.port, flood.next = uint16(1+i), [2]uint32{1, 1}
		flood.open()
		flood.say(port1026)
	}
	if n := len(k.streams.index); n > followedConnections {
		t.Errorf("%d expectations", n)
	}
	if k.record() != nil {
		t.Error("the oldest stream did not give way")
	}
	k.say(port1025) // the middle of a line
	if k.opens(1025, false) {
		t.Error("the middle of a line was read as a line")
	}
	k.say(port1025)
	if !k.opens(1025, false) {
		t.Error("the next line was not read")
	}
}

func TestStreamsOfLiveConnectionsStay(t *testing.T) {
	k := newTalk(false)
	k.say("PORT 10,0,0,1,")
	flood := *k
	for i := range 3 * followedConnections {
		flood.port, flood.next = uint16(1+i), [2]uint32{1, 1}
		flood.open()
		flood.say(port1026)
		delete(flood.table.connections, flood.key)
	}
	k.say("4,1\r\n")
	if !k.opens(1025, false) {
		t.Error("the stream had to give way to connections that are over")
	}
}

// Wherever TCP cuts it, a stream says the same.
func TestSplitStream(t *testing.T) {
	for _, text := range []string{
		port1025,
		"USER x\r\nEPRT |1|10.0.0.1|1025|\r\n",
		"PORT 10,0,0,1,4\r\nport 10,0,0,1,4,1\n",
		"EPRT P1P10.0.0.1P1P\r\n" + port1025 + "EPRT |1|10.0.0.1|0|\r\n",
	} {
		for i := range len(text) {
			for j := i; j < len(text); j++ {
				k := newTalk(false)
				k.say(text[:i])
				k.say(text[i:j])
				k.say(text[j:])
				if !k.opens(1025, false) {
					t.Fatalf("%q | %q | %q announces nothing", text[:i], text[i:j], text[j:])
				}
			}
		}
	}
}
