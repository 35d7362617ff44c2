package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// ExampleNew blocks nothing: whoever has something that does attaches it to l.Guest.Port in l.Host.
func ExampleNew() {
	ctx := context.Background()
	l, err := New(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	if err := l.StartServers(); err != nil {
		fmt.Println(err)
		return
	}
	if err := HTTP(ctx, l.Neighbour.Namespace, l.Guest.At(HTTPPort)); NoAnswer(err) {
		fmt.Println("blocked")
	}
}

func TestFurtherGuestIsOnTheBridge(t *testing.T) {
	l := newLab(t)
	third, err := l.AddGuest(t.Context(), GuestConfig{
		Name: "third",
		MAC:  net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x03},
		IPv4: netip.MustParsePrefix("10.77.0.13/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Ping(t.Context(), third.Namespace, l.Guest.IPv4); err != nil {
		t.Error(err)
	}
	if err := l.ServeHTTP(third, 8080); err != nil {
		t.Fatal(err)
	}
	if err := HTTP(t.Context(), l.Guest.Namespace, third.At(8080)); err != nil {
		t.Error(err)
	}
}

func TestGuestHasTheMACAddressItWasGiven(t *testing.T) {
	l := newLab(t)
	for _, guest := range []*Guest{l.Guest, l.Neighbour} {
		link, err := guest.Links().LinkByName(GuestDevice)
		if err != nil {
			t.Fatal(err)
		}
		if got := link.Attrs().HardwareAddr; !bytes.Equal(got, guest.MAC) {
			t.Errorf("%s has %s, want %s", guest.Name(), got, guest.MAC)
		}
	}
}

func TestHostWithAnAddressTalksToGuests(t *testing.T) {
	l := newLab(t)
	for _, address := range []string{"10.77.0.1/24", "fd77::1/64"} {
		if err := l.AddHostAddress(netip.MustParsePrefix(address)); err != nil {
			t.Fatal(err)
		}
	}
	for _, addr := range []netip.Addr{l.Guest.IPv4, l.Guest.IPv6} {
		if err := Ping(t.Context(), l.Host, addr); err != nil {
			t.Error(err)
		}
	}
}

func TestChecksumsAreFinished(t *testing.T) {
	l := newLab(t)
	for _, test := range []struct {
		name    string
		offload bool
	}{{"without offload", false}, {"with offload", true}} {
		t.Run(test.name, func(t *testing.T) {
			if err := l.Guest.SetChecksumOffload(GuestDevice, test.offload); err != nil {
				t.Fatal(err)
			}
			conn, err := l.Neighbour.OpenFrames(GuestDevice)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := Echo(t.Context(), l.Guest.Namespace, l.Neighbour.At(EchoPort)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), ProbeTimeout)
			defer cancel()
			frame, err := conn.Receive(ctx, func(frame []byte) bool { return bytes.HasSuffix(frame, []byte("echo")) })
			if err != nil {
				t.Fatal(err)
			}
			src := netip.AddrPortFrom(l.Guest.IPv4, uint16(frame[34])<<8|uint16(frame[35]))
			want := UDPFrame(l.Guest.MAC, l.Neighbour.MAC, src, l.Neighbour.At(EchoPort), []byte("echo"))
			if finished := bytes.Equal(frame[34:46], want[34:46]); finished == test.offload {
				t.Errorf("UDP is % x, with a finished checksum % x", frame[34:46], want[34:46])
			}
		})
	}
}
