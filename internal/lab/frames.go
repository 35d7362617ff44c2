package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// ArrivalTimeout is how long Arrives waits for a frame before it counts as lost. On the lab's
// devices a frame is delivered by the time that the call which sends it returns.
const ArrivalTimeout = 300 * time.Millisecond

// FrameConn sends and receives whole Ethernet frames on a device, beside its network stack.
type FrameConn struct {
	ns   *Namespace
	conn *packet.Conn
}

// OpenFrames listens to a device from now on. It sees what the device receives, not what is sent
// through it. The kernel takes an outer VLAN tag off before.
func (ns *Namespace) OpenFrames(device string) (*FrameConn, error) {
	f := &FrameConn{ns: ns}
	err := ns.Do(func() error {
		ifi, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		f.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open device %s in namespace %s: %w", device, ns.name, err)
	}
	if err := ignoreOutgoing(f.conn); err != nil {
		closeAll(f.conn)
		return nil, fmt.Errorf("open device %s in namespace %s: %w", device, ns.name, err)
	}
	ns.resources.add(f)
	return f, nil
}

func ignoreOutgoing(conn *packet.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var optionErr error
	err = raw.Control(func(fd uintptr) {
		optionErr = unix.SetsockoptInt(int(fd), unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	})
	return errors.Join(err, optionErr)
}

// Send puts a frame on the device as it is.
func (f *FrameConn) Send(frame []byte) error {
	if len(frame) < 14 {
		return fmt.Errorf("send a frame: %d bytes are no Ethernet header", len(frame))
	}
	to := &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}
	if _, err := f.conn.WriteTo(frame, to); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

// Receive returns the first frame that match accepts; nil accepts every frame. When ctx
// ends, NoAnswer holds for the error.
func (f *FrameConn) Receive(ctx context.Context, match func(frame []byte) bool) ([]byte, error) {
	defer bindToContext(ctx, f.conn.SetDeadline)()
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := f.conn.ReadFrom(buffer)
		if err != nil {
			return nil, fmt.Errorf("receive a frame: %w", err)
		}
		if match == nil || match(buffer[:n]) {
			return bytes.Clone(buffer[:n]), nil
		}
	}
}

// Close ends the connection.
func (f *FrameConn) Close() error {
	f.ns.resources.remove(f)
	return f.conn.Close()
}

// Arrives sends a frame from one guest's NIC, whatever is in it, and reports by its error whether
// the same bytes reach the other guest's NIC: NoAnswer holds if they do not.
func Arrives(ctx context.Context, from, to *Guest, frame []byte) error {
	sender, err := from.OpenFrames(GuestDevice)
	if err != nil {
		return err
	}
	defer sender.Close()
	return Arrived(ctx, to, frame, func() error { return sender.Send(frame) })
}

// Arrived is Arrives for a frame that is sent by a function.
func Arrived(ctx context.Context, to *Guest, frame []byte, send func() error) error {
	receiver, err := to.OpenFrames(GuestDevice)
	if err != nil {
		return err
	}
	defer receiver.Close()
	if err := send(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ArrivalTimeout)
	defer cancel()
	_, err = receiver.Receive(ctx, func(got []byte) bool { return bytes.Equal(got, frame) })
	return err
}
