package lab

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Each frame is whole, with right checksums, and of a connection of its own.
func TestFloodFrames(t *testing.T) {
	from := &Guest{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, IPv4: netip.MustParseAddr("10.77.0.11")}
	to := &Guest{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, IPv4: netip.MustParseAddr("10.77.0.12")}
	for name, flood := range map[string]*Flood{"syns": SYNs(from, to, 80), "datagrams": Datagrams(from, to, 9999), "pings": Pings(from, to)} {
		seen := map[string]bool{}
		for _, i := range []uint32{0, 1, 255, 65535, 65536, 1<<20 + 7, 3} {
			flood.number(i, flood.frame)
			p := gopacket.NewPacket(flood.frame, layers.LayerTypeEthernet, gopacket.Default)
			if p.ErrorLayer() != nil {
				t.Fatalf("%s %d: %v", name, i, p.ErrorLayer().Error())
			}
			for _, l := range p.Layers() {
				if l, ok := l.(interface {
					SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
				}); ok {
					must(l.SetNetworkLayerForChecksum(p.NetworkLayer()))
				}
			}
			if err, wrong := p.VerifyChecksums(); err != nil || len(wrong) > 0 {
				t.Errorf("%s %d: wrong checksums %v, %v", name, i, wrong, err)
			}
			seen[string(flood.frame)] = true
		}
		if len(seen) != 7 {
			t.Errorf("%s: %d different frames, want 7", name, len(seen))
		}
	}
}
