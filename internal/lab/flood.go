package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Spoofed is where floods seem to come from, or go to: a network for benchmarks (RFC 2544).
var Spoofed = netip.MustParsePrefix("198.18.0.0/15")

// Offsets in a frame of IPv4 without options.
const (
	ipChecksum    = 24
	ipSource      = 26
	ipDestination = 30
	sourcePort    = 34
	icmpChecksum  = 36
	icmpID        = 38
	udpChecksum   = 40
	udpPayload    = 42
	tcpChecksum   = 50
)

// Flood is a stream of frames from a guest's NIC, each of a connection of its own.
type Flood struct {
	from  *Guest
	frame []byte
	// number makes the frame that of the i-th connection.
	number func(i uint32, frame []byte)
}

// AddAttacker adds a guest that floods come from or go to: what the lab's guest sends to spoofed
// addresses arrives, and ends, there.
func (l *Lab) AddAttacker(ctx context.Context) (*Guest, error) {
	attacker, err := l.AddGuest(ctx, GuestConfig{
		Name: "attacker",
		MAC:  net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x66},
		IPv4: netip.MustParsePrefix("10.77.0.66/24"),
	})
	if err != nil {
		return nil, err
	}
	err = l.Guest.links.RouteAdd(&netlink.Route{
		Dst: &net.IPNet{IP: Spoofed.Addr().AsSlice(), Mask: net.CIDRMask(Spoofed.Bits(), 32)},
		Gw:  attacker.IPv4.AsSlice(),
	})
	if err != nil {
		return nil, fmt.Errorf("route %s to the attacker: %w", Spoofed, err)
	}
	return attacker, nil
}

// SYNs are openings of TCP connections to a port of a guest, from spoofed addresses.
func SYNs(from, to *Guest, port uint16) *Flood {
	frame := TCPFrame(from.MAC, to.MAC, Spoofed.Addr(), to.IPv4,
		layers.TCP{DstPort: layers.TCPPort(port), SYN: true, Window: 1000}, nil)
	return &Flood{from, frame, func(i uint32, frame []byte) {
		setNumber(frame, ipSource+2, uint16(i), ipChecksum, tcpChecksum)
		setNumber(frame, sourcePort, uint16(1024+i>>16), tcpChecksum)
	}}
}

// Datagrams go to a port of spoofed addresses, by way of a guest.
func Datagrams(from, to *Guest, port uint16) *Flood {
	frame := UDPFrame(from.MAC, to.MAC, from.At(0), netip.AddrPortFrom(Spoofed.Addr(), port), []byte("spray"))
	return &Flood{from, frame, func(i uint32, frame []byte) {
		setNumber(frame, ipDestination+2, uint16(i), ipChecksum, udpChecksum)
		setNumber(frame, sourcePort, uint16(1024+i>>16), udpChecksum)
	}}
}

// Pings go to spoofed addresses, by way of a guest.
func Pings(from, to *Guest) *Flood {
	ethernet, ip := headers(from.MAC, to.MAC, from.IPv4, Spoofed.Addr(), layers.IPProtocolICMPv4, 64)
	frame := serialize(ethernet, ip.(gopacket.SerializableLayer),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0)})
	return &Flood{from, frame, func(i uint32, frame []byte) {
		setNumber(frame, ipDestination+2, uint16(i), ipChecksum)
		setNumber(frame, icmpID, uint16(i>>16), icmpChecksum)
	}}
}

// Run sends as many frames a second as rate says, or as its thread can, until ctx ends. It returns
// how many a second they were.
func (f *Flood) Run(ctx context.Context, rate int) (float64, error) {
	fd, err := f.from.openRaw()
	if err != nil {
		return 0, fmt.Errorf("flood from %s: %w", f.from.name, err)
	}
	defer unix.Close(fd)
	const burst = 200
	begin, sent := time.Now(), 0
	for ctx.Err() == nil {
		due := int(float64(rate)*time.Since(begin).Seconds()) - sent
		if due <= 0 {
			time.Sleep(200 * time.Microsecond)
			continue
		}
		for range min(due, burst) {
			f.number(uint32(sent), f.frame)
			sent++
			if _, err := unix.Write(fd, f.frame); err != nil && err != unix.ENOBUFS {
				return 0, fmt.Errorf("flood from %s: %w", f.from.name, err)
			}
		}
	}
	return float64(sent) / time.Since(begin).Seconds(), nil
}

// openRaw gives a socket that sends whole frames, without the runtime's poller.
func (g *Guest) openRaw() (fd int, err error) {
	err = g.Do(func() error {
		nic, err := net.InterfaceByName(GuestDevice)
		if err != nil {
			return err
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: nic.Index}); err != nil {
			unix.Close(fd)
			return err
		}
		return nil
	})
	return fd, err
}

// setNumber puts a 16-bit number at an even offset of a frame, and mends the checksums that cover
// it (RFC 1624).
func setNumber(frame []byte, at int, number uint16, checksums ...int) {
	old := binary.BigEndian.Uint16(frame[at:])
	binary.BigEndian.PutUint16(frame[at:], number)
	for _, c := range checksums {
		sum := uint32(^binary.BigEndian.Uint16(frame[c:])) + uint32(^old) + uint32(number)
		sum = sum&0xffff + sum>>16
		binary.BigEndian.PutUint16(frame[c:], ^uint16(sum+sum>>16))
	}
}
