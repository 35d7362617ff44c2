package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// TapConfig says how a tap device is made.
type TapConfig struct {
	// Name of the device in the host namespace, which is also its port's name.
	Name string
	// Fragments makes every part but the first of a frame that is written in parts a page fragment
	// of the packet (IFF_NAPI | IFF_NAPI_FRAGS), so that only the first part is linear.
	Fragments bool
	// VnetHeader puts a virtio-net header before every frame (IFF_VNET_HDR), as vhost-net does.
	VnetHeader bool
}

// VnetHeader is struct virtio_net_hdr of <linux/virtio_net.h>.
type VnetHeader struct {
	Flags      uint8 // VIRTIO_NET_HDR_F_*
	GSOType    uint8 // VIRTIO_NET_HDR_GSO_*
	HdrLen     uint16
	GSOSize    uint16
	CsumStart  uint16
	CsumOffset uint16
}

const vnetHeaderLen = 10

// Tap is a port whose guest is the caller: what is written is what a guest sends.
type Tap struct {
	Name string
	ns   *Namespace
	file *os.File
	vnet bool
}

// AddTap adds a tap device to the bridge and returns when frames pass. It is removed by Close.
func (l *Lab) AddTap(ctx context.Context, config TapConfig) (*Tap, error) {
	tap := &Tap{Name: config.Name, ns: l.Host, vnet: config.VnetHeader}
	err := l.Host.Do(func() error {
		var err error
		tap.file, err = openTap(config)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add tap device %s: %w", config.Name, err)
	}
	l.Host.resources.add(tap)
	if err := l.plug(tap.Name); err != nil {
		closeAll(tap)
		return nil, err
	}
	if err := l.Host.waitRunning(ctx, tap.Name); err != nil {
		closeAll(tap)
		return nil, err
	}
	return tap, nil
}

func openTap(config TapConfig) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(config.Name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	flags := unix.IFF_TAP | unix.IFF_NO_PI
	if config.Fragments {
		flags |= unix.IFF_NAPI | unix.IFF_NAPI_FRAGS
	}
	if config.VnetHeader {
		flags |= unix.IFF_VNET_HDR
	}
	request.SetUint16(uint16(flags))
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Only now, because a descriptor without a device is always ready to be polled.
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// Send sends one frame, given in one or more parts that are handed over as they are: with
// Fragments, the first (at least an Ethernet header) is linear and each of the others, up to a page
// long, is a fragment.
func (t *Tap) Send(parts ...[]byte) error {
	return t.SendVnet(VnetHeader{}, parts...)
}

// SendVnet sends one frame with a virtio-net header, for which the tap must have VnetHeader.
func (t *Tap) SendVnet(header VnetHeader, parts ...[]byte) error {
	if t.vnet {
		raw := make([]byte, 0, vnetHeaderLen)
		raw, err := binary.Append(raw, binary.NativeEndian, header)
		if err != nil {
			return err
		}
		parts = append([][]byte{raw}, parts...)
	} else if header != (VnetHeader{}) {
		return fmt.Errorf("send through tap %s: it was made without VnetHeader", t.Name)
	}
	total := 0
	for _, part := range parts {
		total += len(part)
	}
	raw, err := t.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("send through tap %s: %w", t.Name, err)
	}
	var sent int
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sent, sendErr = unix.Writev(int(fd), parts)
		return !errors.Is(sendErr, syscall.EAGAIN)
	})
	if err := errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("send through tap %s: %w", t.Name, err)
	}
	if sent != total {
		return fmt.Errorf("send through tap %s: %d of %d bytes taken", t.Name, sent, total)
	}
	return nil
}

// Receive returns the first frame for the guest that match accepts, without virtio-net header; nil
// accepts every frame. When ctx ends, NoAnswer holds for the error.
func (t *Tap) Receive(ctx context.Context, match func(frame []byte) bool) ([]byte, error) {
	defer bindToContext(ctx, t.file.SetReadDeadline)()
	buffer := make([]byte, 1<<17)
	skip := 0
	if t.vnet {
		skip = vnetHeaderLen
	}
	for {
		n, err := t.file.Read(buffer)
		if err != nil {
			return nil, fmt.Errorf("receive from tap %s: %w", t.Name, err)
		}
		if n < skip {
			return nil, fmt.Errorf("receive from tap %s: %d bytes are no virtio-net header", t.Name, n)
		}
		if frame := buffer[skip:n]; match == nil || match(frame) {
			return bytes.Clone(frame), nil
		}
	}
}

// Close removes the device.
func (t *Tap) Close() error {
	t.ns.resources.remove(t)
	return t.file.Close()
}
