package reject

import (
	"bytes"
	"encoding/hex"
	"flag"
	"net"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tapgate/internal/packet"
	"tapgate/internal/reject/rejecttest"
)

var update = flag.Bool("update", false, "rewrite the answers in rejecttest/cases.txt")

func cases(t *testing.T) []rejecttest.Case {
	t.Helper()
	all, err := rejecttest.Cases()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnswers(t *testing.T) {
	all := cases(t)
	for i, c := range all {
		p := packet.Decode(c.Frame, c.Out)
		got := Answer(&p, rejecttest.Guest)
		if *update {
			all[i].Answer = got
		} else if !bytes.Equal(got, c.Answer) {
			t.Errorf("%s: %s\n got %s\nwant %s", c.Name, c.Text, hex.EncodeToString(got), hex.EncodeToString(c.Answer))
		}
		if kind := KindOf(&p, rejecttest.Guest); (kind == None) != (got == nil) {
			t.Errorf("%s: kind %s of %x", c.Name, kind, got)
		}
	}
	if *update {
		if err := os.WriteFile("rejecttest/cases.txt", []byte(rejecttest.Format(all)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnswersAreWellFormed reads the recorded answers with somebody else's
// decoder, which knows checksums and lengths.
func TestAnswersAreWellFormed(t *testing.T) {
	kinds := map[gopacket.LayerType]int{}
	for _, c := range cases(t) {
		if c.Answer == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			sent := gopacket.NewPacket(c.Frame, layers.LayerTypeEthernet, gopacket.Default)
			got := gopacket.NewPacket(c.Answer, layers.LayerTypeEthernet, gopacket.Default)
			if got.ErrorLayer() != nil {
				t.Fatal(got.ErrorLayer().Error())
			}
			if s, g := sent.LinkLayer().LinkFlow(), got.LinkLayer().LinkFlow(); g != s.Reverse() {
				t.Errorf("MAC addresses %v of an answer to %v", g, s)
			}
			if s, g := sent.NetworkLayer().NetworkFlow(), got.NetworkLayer().NetworkFlow(); g != s.Reverse() {
				t.Errorf("IP addresses %v of an answer to %v", g, s)
			}
			for _, l := range got.Layers() {
				if l, ok := l.(interface {
					SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
				}); ok {
					if err := l.SetNetworkLayerForChecksum(got.NetworkLayer()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err, mismatches := got.VerifyChecksums(); err != nil || len(mismatches) > 0 {
				t.Errorf("checksums %v, error %v", mismatches, err)
			}
			quoted := sent.LinkLayer().LayerPayload()
			switch {
			case got.Layer(layers.LayerTypeTCP) != nil:
				kinds[layers.LayerTypeTCP]++
				tcp := got.Layer(layers.LayerTypeTCP).(*layers.TCP)
				if s := sent.TransportLayer().TransportFlow(); got.TransportLayer().TransportFlow() != s.Reverse() || !tcp.RST || tcp.SYN || tcp.FIN {
					t.Errorf("%+v of an answer to %v", tcp, s)
				}
			case got.Layer(layers.LayerTypeICMPv4) != nil:
				kinds[layers.LayerTypeICMPv4]++
				icmp := got.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
				if icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 3) || !bytes.HasPrefix(quoted, icmp.Payload) {
					t.Errorf("%v with %x", icmp.TypeCode, icmp.Payload)
				}
				if n := len(c.Answer) - 14; n > 576 || n < 576 && len(icmp.Payload) < len(sent.NetworkLayer().LayerContents())+len(sent.NetworkLayer().LayerPayload()) {
					t.Errorf("%d bytes with %d quoted", n, len(icmp.Payload))
				}
			default:
				kinds[layers.LayerTypeICMPv6]++
				icmp := got.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
				if icmp.TypeCode != layers.CreateICMPv6TypeCode(1, 4) || !bytes.HasPrefix(quoted, icmp.Payload[4:]) {
					t.Errorf("%v with %x", icmp.TypeCode, icmp.Payload)
				}
				if n := len(c.Answer) - 14; n > 1280 || n < 1280 && len(icmp.Payload)-4 < len(quoted) {
					t.Errorf("%d bytes with %d quoted", n, len(icmp.Payload)-4)
				}
			}
		})
	}
	if len(kinds) != 3 {
		t.Errorf("kinds of answers %v", kinds)
	}
}

func TestWhatAnotherGuestsFrameIsAnsweredDependsOnItsDirection(t *testing.T) {
	other := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	for _, c := range cases(t) {
		p := packet.Decode(c.Frame, c.Out)
		want := c.Out && c.Answer != nil
		if got := Answer(&p, other) != nil; got != want {
			t.Errorf("%s: answered %v for another guest, want %v", c.Name, got, want)
		}
	}
}

func TestLimit(t *testing.T) {
	var l Limit
	allowed := func(now time.Duration) (n int) {
		for range 1000 {
			if l.Allow(int64(now)) {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		now  time.Duration
		want int
	}{
		{time.Hour, 50}, {time.Hour, 0}, {time.Hour + 9*time.Millisecond, 0}, {time.Hour + 10*time.Millisecond, 1},
		{time.Hour + 110*time.Millisecond, 10}, {2 * time.Hour, 50},
	} {
		if got := allowed(step.now); got != step.want {
			t.Errorf("at %v: %d answers, want %d", step.now, got, step.want)
		}
	}
}
