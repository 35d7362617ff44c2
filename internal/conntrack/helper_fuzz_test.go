package conntrack

import (
	"testing"

	"tapgate/internal/packet"
)

// Whatever the two ends of a control connection say, it announces no more than
// its helper allows, nothing but connections between its own two ends, and from
// anyone only what an IRC client offers; and TCP may cut it anywhere.
func FuzzControl(f *testing.F) {
	services := DefaultServices()
	seeds := []struct {
		helper Helper
		text   string
		server bool
		v6     bool
	}{
		{FTP, port1025, false, false},
		{FTP, "USER x\r\nEPRT |1|10.0.0.1|1025|\r\n", false, false},
		{FTP, "EPRT |2|fd00::1|1025|\r\n", false, true},
		{FTP, "EPRT :2:fd00::1:1025:\nEPRT f2ffd00::1f1f", false, true},
		{FTP, "220 x\r\n227 Passive (10,0,0,2,4,2).\r\n", true, false},
		{FTP, "229 Extended (|||1026|)\r\n\x00", true, true},
		{TFTP, "\x00\x01file\x00octet\x00", false, false},
		{TFTP, "\x00\x02\x00", true, true},
		{IRC, "PRIVMSG b :\x01DCC SEND f 167772161 1025 99\x01\r\n", false, false},
		{IRC, "privmsg b :\x01DCC SEND f 167772162 1025\n\r PRIVMSG b  :\x01DCC SCHAT f 167772161 1025\n", false, false},
		{Amanda, "Amanda 2.4 REP\nCONNECT DATA 1025 MESG 1026 INDEX 1027 STATE 65536\n", true, false},
		{Amanda, "CONNECCONNECT DATDATA 1,MESG 100000 INDEX 2\nCONNECT ", true, true},
		{SIP, "INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nl: 70\r\n\r\nv=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 x\r\nm=video 5001 x\r\nc=IN IP4 10.0.0.1\r\n", false, false},
		{SIP, "SIP/2.0 200 OK\nCSeq: 1 UPDATE\nl: 38\n\nv=0\nc=IN IP6 fd00::2\nm=image 4000 t38\n", true, true},
		{SIP, "REGISTER sip:r SIP/2.0\r\nm: \"sip\" <sip:10.0.0.2:1@10.0.0.1:7000;transport=tcp>;expires=60, <sip:u@[::1]:99999>\r\nCSeq: 1 REGISTER\r\nl: 0\r\n\r\n", false, false},
		{SIP, "REGISTER sip:r SIP/2.0\nContact:\n <sip:[fd00::1]>\nExpires : 9999999999\nCSeq: 1 REGISTER\nl:0\n\nBYE sip:b\nCSeq:2 BYE\n", false, true},
	}
	for i, service := range services {
		for _, s := range seeds {
			if s.helper == service.Helper {
				f.Add(uint8(i), []byte(s.text), []byte{3, 5}, s.server, s.v6)
				f.Add(uint8(i), []byte(s.text+s.text), []byte{}, s.server, s.v6)
			}
		}
	}
	f.Fuzz(func(t *testing.T, number uint8, stream, cuts []byte, fromServer, v6 bool) {
		if len(stream) == 0 || len(stream) > maxSegment-8 {
			return
		}
		service := services[int(number)%len(services)]
		d := packet.Original
		if fromServer {
			d = packet.Reply
		}
		whole, split := newTalkOf(service, v6), newTalkOf(service, v6)
		whole.send(d, 0, string(stream))
		rest := stream
		for _, cut := range cuts {
			n := min(int(cut), len(rest))
			split.send(d, 0, string(rest[:n]))
			rest = rest[n:]
		}
		split.send(d, 0, string(rest))
		for _, k := range []*talk{whole, split} {
			k.checkAnnounced(t)
		}
		a, b := whole.record(), split.record()
		if service.Proto != packet.ProtoTCP || helpers[service.Helper].automaton.reads&d == 0 {
			return
		}
		if a.halves != b.halves {
			t.Fatalf("whole %+v\nsplit %+v", a.halves, b.halves)
		}
		// Of many events in one packet the last ones count. SIP knows some that
		// announce nothing, but none shorter than this.
		few := b.made <= maxEvents && (service.Helper != SIP || len(stream) < 20*maxEvents)
		if few && a.slots != b.slots {
			t.Fatalf("whole %+v\nsplit %+v", a.slots, b.slots)
		}
	})
}

// checkAnnounced looks at all that a conversation has announced.
func (k *talk) checkAnnounced(t *testing.T) {
	t.Helper()
	st, announced := k.record(), 0
	if st == nil {
		st = &stream{}
	}
	for i, slot := range st.slots {
		if slot == (announcement{}) {
			continue
		}
		announced++
		of := kindOfSlot(k.service.Helper, i)
		if of == nil {
			t.Fatalf("slot %d, which is of no kind, holds %+v", i, slot)
		}
		got := slot.target
		listener, peer := got.Dst, k.client
		if listener == k.client {
			peer = k.server
		}
		proto := of.proto
		if slot.permanent {
			proto = k.service.Proto
		}
		want := target{Family: k.family, Proto: proto, DstPort: got.DstPort, Src: peer, Dst: listener}
		if k.service.Helper == IRC {
			want.AnySource, want.Src = true, packet.U128{}
		}
		if listener != k.client && listener != k.server || got != want || got.DstPort == 0 {
			t.Fatalf("announced %+v", got)
		}
		if k.service.Helper == TFTP && (got.Dst != k.client || got.DstPort != k.port) {
			t.Fatalf("TFTP's answer is expected at %+v", got)
		}
		if k.service.Helper == SIP && got.DstPort < lowestPort {
			t.Fatalf("SIP announces %+v", got)
		}
		// How long a registration lasts the registrar says.
		if slot.expires > k.now+300*second && (!slot.permanent || slot.waiting) {
			t.Fatalf("%+v lives too long", slot)
		}
	}
	if len(k.streams.index) > announced {
		t.Fatalf("%d targets lead to %d announcements", len(k.streams.index), announced)
	}
}

func kindOfSlot(h Helper, slot int) *kind {
	for _, k := range helpers[h].automaton.kinds {
		if slot >= int(k.first) && slot < int(k.first+k.slots) {
			return &k
		}
	}
	return nil
}
