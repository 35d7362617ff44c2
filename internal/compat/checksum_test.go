package compat

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tapgate/internal/packet"
)

func TestChecksum(t *testing.T) {
	data := gopacket.Payload("odd")
	udpLite := frame(t, udp(53), data)
	udpLite[23] = packet.ProtoUDPLite
	fixIPv4(udpLite)
	// The pseudo header has another protocol number, 136 and not 17.
	c := uint32(udpLite[40])<<8 | uint32(udpLite[41])
	c = c + 0xffff - (packet.ProtoUDPLite - packet.ProtoUDP)
	c = c&0xffff + c>>16
	udpLite[40], udpLite[41] = byte(c>>8), byte(c)
	none := frame(t, udp(53), data)
	none[40], none[41] = 0, 0
	for _, row := range []struct {
		fact  string
		frame []byte
		want  checksum
	}{
		{"tcp", frame(t, syn(22), data), goodChecksum},
		{"udp", frame(t, udp(53), data), goodChecksum},
		{"udp without one", none, goodChecksum},
		{"udplite", udpLite, goodChecksum},
		{"icmp", frame(t, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}, data), goodChecksum},
		{"sctp", frame(t, &layers.SCTP{SrcPort: 1, DstPort: 2}, data), goodChecksum},
		{"a truncated header", truncated(frame(t, syn(22)), 12), noChecksum},
		{"no IP", make([]byte, 60), noChecksum},
	} {
		p := packet.Decode(row.frame, false)
		if got := checksumOf(&p); got != row.want {
			t.Errorf("%s: %d, want %d", row.fact, got, row.want)
		}
		if row.want != goodChecksum || row.fact == "udp without one" {
			continue
		}
		row.frame[p.L4Offset+p.L4Length-1] ^= 1
		p = packet.Decode(row.frame, false)
		if got := checksumOf(&p); got != wrongChecksum {
			t.Errorf("%s with another last byte: %d, want %d", row.fact, got, wrongChecksum)
		}
	}
}

// fixIPv4 sets the header checksum of a frame.
func fixIPv4(frame []byte) {
	frame[24], frame[25] = 0, 0
	c := ^sum(frame[14:34], 0)
	frame[24], frame[25] = byte(c>>8), byte(c)
}

// truncated leaves n bytes behind the IPv4 header.
func truncated(frame []byte, n int) []byte {
	frame = frame[:34+n]
	frame[16], frame[17] = 0, byte(20+n)
	fixIPv4(frame)
	return frame
}
