package gate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socket speaks nfnetlink. Its port is what the kernel knows the owner of a table by: when it is
// closed, or its process is killed, the table has no owner. It is not a netlink.Conn because that
// gives the first error of a transaction without the message that it answers.
type socket struct {
	fd   int
	port uint32
	seq  uint32
}

// maxAnswer is more than the kernel puts into one message of a listing.
const maxAnswer = 1 << 17

// sizeofHeader is that of struct nfgenmsg, in front of the attributes.
const sizeofHeader = 4

// sendBuffer must hold a whole transaction: 16 bytes for each admitted device.
const sendBuffer = 8 << 20

// dial opens a socket in the network namespace of the calling thread.
func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, &stepError{step: stepNone, what: "open nfnetlink", err: err}
	}
	s := &socket{fd: fd}
	if err := s.prepare(); err != nil {
		s.close()
		return nil, &stepError{step: stepNone, what: "open nfnetlink", err: err}
	}
	return s, nil
}

func (s *socket) prepare() error {
	if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	address, err := unix.Getsockname(s.fd)
	if err != nil {
		return err
	}
	s.port = address.(*unix.SockaddrNetlink).Pid
	// An acknowledgement need not quote what it answers.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// message is one request of a transaction.
type message struct {
	kind  int // NFT_MSG_*
	flags netlink.HeaderFlags
	fill  func(*netlink.AttributeEncoder)
	step  step
	what  string
}

// commit does all of what the messages say, or nothing, in one transaction (nfnetlink_rcv_batch):
// packets see either all of it or nothing. The error is a *stepError.
func (s *socket) commit(messages ...message) error {
	frame := func(kind uint16) []byte {
		raw, _ := s.encode(kind, netlink.Request, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
		return raw
	}
	raw := frame(unix.NFNL_MSG_BATCH_BEGIN)
	answers := map[uint32]message{}
	for _, m := range messages {
		body, err := s.encode(tablesType(m.kind), netlink.Request|netlink.Acknowledge|m.flags, unix.NFPROTO_NETDEV, 0, m.fill)
		if err != nil {
			return &stepError{m.step, m.what, err}
		}
		answers[s.seq] = m
		raw = append(raw, body...)
	}
	raw = append(raw, frame(unix.NFNL_MSG_BATCH_END)...)
	if err := s.send(raw); err != nil {
		return &stepError{step: stepNone, what: "send", err: err}
	}

	// The kernel has answered everything by the time that send returns. All answers are read, or
	// those that are left would answer the next request; the first error is the reason.
	var failed error
	acknowledged := 0
	for {
		received, err := s.receive(unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return &stepError{step: stepNone, what: "receive", err: err}
		}
		for _, answer := range received {
			err, is := errno(answer)
			switch m := answers[answer.Header.Sequence]; {
			case !is:
			case err == nil:
				acknowledged++
			case failed == nil:
				failed = &stepError{m.step, m.what, err}
			}
		}
	}
	if failed == nil && acknowledged != len(messages) {
		return &stepError{stepNone, fmt.Sprintf("%d of %d messages were acknowledged", acknowledged, len(messages)), unix.EPROTO}
	}
	return failed
}

// ask reads: it gives the attributes of each answer to a request.
func (s *socket) ask(kind int, flags netlink.HeaderFlags, fill func(*netlink.AttributeEncoder),
	each func(*netlink.AttributeDecoder)) error {
	raw, err := s.encode(tablesType(kind), netlink.Request|netlink.Acknowledge|flags, unix.NFPROTO_NETDEV, 0, fill)
	if err != nil {
		return err
	}
	if err := s.send(raw); err != nil {
		return err
	}
	interrupted := false
	for {
		received, err := s.receive(0)
		if err != nil {
			return err
		}
		for _, answer := range received {
			if answer.Header.Sequence != s.seq {
				continue
			}
			interrupted = interrupted || answer.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			if err, is := errno(answer); is {
				if err == nil && interrupted {
					return errInterrupted
				}
				return err
			}
			if len(answer.Data) < sizeofHeader {
				return fmt.Errorf("the kernel answers with %d bytes", len(answer.Data))
			}
			d, err := netlink.NewAttributeDecoder(answer.Data[sizeofHeader:])
			if err != nil {
				return err
			}
			d.ByteOrder = binary.BigEndian
			each(d)
			if err := d.Err(); err != nil {
				return err
			}
		}
	}
}

func tablesType(kind int) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | uint16(kind) }

// encode makes a message with a sequence number of its own.
func (s *socket) encode(kind uint16, flags netlink.HeaderFlags, family uint8, resource uint16,
	fill func(*netlink.AttributeEncoder)) ([]byte, error) {
	s.seq++
	body := binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	if fill != nil {
		e := netlink.NewAttributeEncoder()
		e.ByteOrder = binary.BigEndian
		fill(e)
		attributes, err := e.Encode()
		if err != nil {
			return nil, err
		}
		body = append(body, attributes...)
	}
	return netlink.Message{
		Header: netlink.Header{
			Length:   uint32(unix.NLMSG_HDRLEN + len(body)),
			Type:     netlink.HeaderType(kind),
			Flags:    flags,
			Sequence: s.seq,
			PID:      s.port,
		},
		Data: body,
	}.MarshalBinary()
}

func (s *socket) send(raw []byte) error {
	for {
		err := unix.Sendto(s.fd, raw, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

// receive gives the messages of one datagram.
func (s *socket) receive(flags int) ([]netlink.Message, error) {
	buffer := make([]byte, maxAnswer)
	var n int
	for {
		var err error
		n, _, err = unix.Recvfrom(s.fd, buffer, flags)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return nil, err
		}
	}
	var messages []netlink.Message
	for rest := buffer[:n]; len(rest) >= unix.NLMSG_HDRLEN; {
		length := int(binary.NativeEndian.Uint32(rest))
		if length < unix.NLMSG_HDRLEN || length > len(rest) {
			return nil, fmt.Errorf("the kernel's message of %d bytes has %d", length, len(rest))
		}
		aligned := min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(rest))
		// Not UnmarshalBinary, which takes aligned lengths only.
		messages = append(messages, netlink.Message{
			Header: netlink.Header{
				Length:   uint32(length),
				Type:     netlink.HeaderType(binary.NativeEndian.Uint16(rest[4:])),
				Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(rest[6:])),
				Sequence: binary.NativeEndian.Uint32(rest[8:]),
			},
			Data: rest[unix.NLMSG_HDRLEN:length],
		})
		rest = rest[aligned:]
	}
	return messages, nil
}

// errInterrupted says that what is listed was changed meanwhile.
var errInterrupted = errors.New("the listing was interrupted")

// errno tells whether a message ends the answer to a request, and with what error.
func errno(m netlink.Message) (error, bool) {
	if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done {
		return nil, false
	}
	if len(m.Data) < 4 {
		return nil, true
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return unix.Errno(-code), true
	}
	return nil, true
}

// hasDevice reports whether a device of the socket's network namespace has an index. The ioctl is
// that of any socket (sock_do_ioctl); no device means ENODEV.
func (s *socket) hasDevice(index int) (bool, error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return false, err
	}
	request.SetUint32(uint32(index))
	err = unix.IoctlIfreq(s.fd, unix.SIOCGIFNAME, request)
	if errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return err == nil, err
}
