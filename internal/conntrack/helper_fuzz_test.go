package conntrack

import (
	"testing"

	"tapgate/internal/packet"
)

// Whatever the two ends of a control connection say, it announces no more than
// its helper allows, nothing but connections between its own two ends, and from
// anyone only what an IRC client offers; and TCP may cut it anywhere.
func FuzzControl(f *testing.F) {
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
	}
	for _, s := range seeds {
		f.Add(uint8(s.helper), []byte(s.text), []byte{3, 5}, s.server, s.v6)
		f.Add(uint8(s.helper), []byte(s.text+s.text), []byte{}, s.server, s.v6)
	}
	f.Fuzz(func(t *testing.T, number uint8, stream, cuts []byte, fromServer, v6 bool) {
		if len(stream) == 0 || len(stream) > maxSegment-8 {
			return
		}
		h := Helper(number)%Helper(len(helpers)-1) + 1
		d := packet.Original
		if fromServer {
			d = packet.Reply
		}
		whole, split := newTalkOf(h, v6), newTalkOf(h, v6)
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
		if whole.service.Proto != packet.ProtoTCP || helpers[h].automaton.reads&d == 0 {
			return
		}
		if a.halves != b.halves {
			t.Fatalf("whole %+v\nsplit %+v", a.halves, b.halves)
		}
		if b.made <= maxEvents && a.slots != b.slots {
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
		want := target{Family: k.family, Proto: of.proto, DstPort: got.DstPort, Src: peer, Dst: listener}
		if k.service.Helper == IRC {
			want.AnySource, want.Src = true, packet.U128{}
		}
		if listener != k.client && listener != k.server || got != want || got.DstPort == 0 {
			t.Fatalf("announced %+v", got)
		}
		if k.service.Helper == TFTP && (got.Dst != k.client || got.DstPort != k.port) {
			t.Fatalf("TFTP's answer is expected at %+v", got)
		}
		if slot.expires > k.now+300*second {
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
