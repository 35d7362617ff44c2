package kerneltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

var (
	be     = binary.BigEndian
	native = binary.NativeEndian
)

// nfnetlink is a socket of this family. It is bare because netlink.Conn waits
// for more after the single answer of ctnetlink, which says that it is one of
// many; and because nothing ever needs waiting for: the kernel answers while
// it takes the request.
type nfnetlink struct {
	fd     int
	buffer []byte
}

// maxMessage is enough for a connection, or for what the log says of a packet.
const maxMessage = 1 << 16

func dial(ns *lab.Namespace) (*nfnetlink, error) {
	n := &nfnetlink{fd: -1, buffer: make([]byte, maxMessage)}
	err := ns.Do(func() error {
		var err error
		n.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err == nil {
			err = unix.Bind(n.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}
		return err
	})
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("open nfnetlink: %w", err)
	}
	return n, nil
}

func (n *nfnetlink) Close() error {
	if n.fd < 0 {
		return nil
	}
	return unix.Close(n.fd)
}

// ask sends a request and gives the attributes of its answer; nil for an
// acknowledgement. Errors are the kernel's.
func (n *nfnetlink) ask(kind uint16, flags netlink.HeaderFlags, family uint8, resource uint16,
	fill func(*netlink.AttributeEncoder)) (*netlink.AttributeDecoder, error) {
	if err := n.send(kind, flags, family, resource, fill); err != nil {
		return nil, err
	}
	_, d, err := n.receive()
	return d, err
}

func (n *nfnetlink) send(kind uint16, flags netlink.HeaderFlags, family uint8, resource uint16,
	fill func(*netlink.AttributeEncoder)) error {
	e := netlink.NewAttributeEncoder()
	fill(e)
	body, err := e.Encode()
	if err != nil {
		return err
	}
	m := netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | flags}}
	m.Data = append(be.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource), body...)
	m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
	raw, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	return unix.Sendto(n.fd, raw, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// list gives the family and the attributes of each of the many answers to a
// request.
func (n *nfnetlink) list(kind uint16, each func(family uint8, d *netlink.AttributeDecoder) error) error {
	if err := n.send(kind, netlink.Dump, unix.AF_UNSPEC, 0, func(*netlink.AttributeEncoder) {}); err != nil {
		return err
	}
	for {
		messages, err := n.messages()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type == unix.NLMSG_DONE {
				return nil
			}
			d, err := attributes(m)
			if err != nil {
				return err
			}
			if err := each(m.Data[0], d); err != nil {
				return err
			}
		}
	}
}

// errNothing is returned by receive where there is no message.
var errNothing = errors.New("no message")

// receive takes the next message.
func (n *nfnetlink) receive() (kind uint16, d *netlink.AttributeDecoder, err error) {
	messages, err := n.messages()
	if err != nil {
		return 0, nil, err
	}
	d, err = attributes(messages[0])
	return messages[0].Header.Type, d, err
}

// messages takes the next datagram, of at least one.
func (n *nfnetlink) messages() ([]syscall.NetlinkMessage, error) {
	size, _, err := unix.Recvfrom(n.fd, n.buffer, unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) {
		return nil, errNothing
	}
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(n.buffer[:size])
	if err == nil && len(messages) == 0 {
		err = fmt.Errorf("a datagram of %d bytes without a message", size)
	}
	return messages, err
}

// attributes of a message; nil for an acknowledgement.
func attributes(m syscall.NetlinkMessage) (*netlink.AttributeDecoder, error) {
	if m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4 {
		if code := int32(native.Uint32(m.Data)); code != 0 {
			return nil, unix.Errno(-code)
		}
		return nil, nil
	}
	if len(m.Data) < nl.SizeofNfgenmsg {
		return nil, fmt.Errorf("a message of %d bytes", len(m.Data))
	}
	return netlink.NewAttributeDecoder(m.Data[nl.SizeofNfgenmsg:])
}
