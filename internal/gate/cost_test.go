package gate

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

// What an admitted device pays at the gate, beside one that the gate does not know: the same cable,
// in turns, in the same run. The frames are UDP, whose headers nftables reads before the first rule.
func BenchmarkAdmittedDevice(b *testing.B) {
	for _, admitted := range []int{1, 1000} {
		h := newHost(b)
		g := h.open(Options{Patterns: []string{"vnet*"}})
		behind, free := h.plug("vnet0", 0), h.plug("free0", 0)
		list := []int{behind.index}
		for i := range admitted - 1 {
			list = append(list, 1000+i)
		}
		if err := g.SetAdmitted(list); err != nil {
			b.Fatal(err)
		}
		for _, way := range []struct {
			name   string
			from   *wire
			device func(cable) int
		}{
			{"ingress", h.guest, func(c cable) int { return c.peer }},
			{"egress", h.inside, func(c cable) int { return c.index }},
		} {
			b.Run(fmt.Sprintf("%s/%d", way.name, admitted), func(b *testing.B) {
				const burst = 64
				frames := newBurst(burst)
				spent := map[cable][]float64{}
				for b.Loop() {
					for _, c := range []cable{free, behind} {
						begin := time.Now()
						for range 100 {
							frames.send(b, way.from, way.device(c))
						}
						spent[c] = append(spent[c], float64(time.Since(begin).Nanoseconds())/(100*burst))
					}
				}
				without, with := median(spent[free]), median(spent[behind])
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(without, "ns/packet-free")
				b.ReportMetric(with, "ns/packet-gate")
				b.ReportMetric(without/with, "rate-with/without")
			})
		}
		_ = g.Close(true)
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// burst is frames that are sent by one call.
type burst struct {
	frame   []byte
	address unix.RawSockaddrLinklayer
	vector  unix.Iovec
	headers []messageHeader
}

// messageHeader is struct mmsghdr.
type messageHeader struct {
	header unix.Msghdr
	length uint32
	_      uint32
}

func newBurst(size int) *burst {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	address := netip.MustParseAddr("198.18.0.1")
	return &burst{
		frame:   lab.UDPFrame(mac, mac, netip.AddrPortFrom(address, 1), netip.AddrPortFrom(address.Next(), 2), make([]byte, 64)),
		headers: make([]messageHeader, size),
	}
}

func (f *burst) send(b *testing.B, w *wire, index int) {
	f.address = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(index), Halen: 6}
	f.vector.Base = &f.frame[0]
	f.vector.SetLen(len(f.frame))
	for i := range f.headers {
		h := &f.headers[i].header
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&f.address)), unix.SizeofSockaddrLinklayer
		h.Iov = &f.vector
		h.SetIovlen(1)
	}
	for sent := 0; sent < len(f.headers); {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&f.headers[sent])),
			uintptr(len(f.headers)-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR, unix.ENOBUFS:
		default:
			b.Fatal(errno)
		}
	}
}
