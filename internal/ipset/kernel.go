package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNotFound is what Read fails with where the kernel has no such set.
var ErrNotFound = errors.New("the kernel has no such set in this network namespace")

// Read reads a set of the calling thread's network namespace. It does not go
// through netlink.IpsetList, which drops the flags of members and so takes
// exceptions for members.
func Read(name string) (*Set, error) {
	req := nl.NewNetlinkRequest(nl.IPSET_CMD_LIST|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(nl.IPSET_CMD_LIST))
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, ErrNotFound
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, fmt.Errorf("read the set %q: the kernel has no ip_set: %w", name, err)
	case err != nil:
		return nil, fmt.Errorf("read the set %q: %w", name, err)
	}
	return decode(name, messages)
}

// header is what a set's messages say before its members.
type header struct {
	typeName string
	family   uint8
	netMask  int
	bitMask  bool
}

// decode reads the messages of IPSET_CMD_LIST, as ip_set_dump_do in
// net/netfilter/ipset/ip_set_core.c writes them: the first has the header, all
// have members.
func decode(name string, messages [][]byte) (*Set, error) {
	var set *Set
	for _, message := range messages {
		if len(message) < nl.SizeofNfgenmsg {
			return nil, fmt.Errorf("read the set %q: a message of %d bytes", name, len(message))
		}
		var head header
		var members []byte
		for kind, value := range attributes(message[nl.SizeofNfgenmsg:]) {
			switch kind {
			case nl.IPSET_ATTR_TYPENAME:
				head.typeName = unix.ByteSliceToString(value)
			case nl.IPSET_ATTR_FAMILY:
				head.family = families[first(value)]
			case nl.IPSET_ATTR_DATA:
				head.read(value)
			case nl.IPSET_ATTR_ADT:
				members = value
			}
		}
		if set == nil {
			var err error
			if set, err = head.set(name); err != nil {
				return nil, err
			}
		}
		for _, member := range attributes(members) {
			if err := set.addKernel(member); err != nil {
				return nil, fmt.Errorf("read the set %q: %w", name, err)
			}
		}
	}
	if set == nil {
		return nil, ErrNotFound
	}
	return set, nil
}

var families = map[uint8]uint8{unix.AF_INET: 4, unix.AF_INET6: 6}

// attrBitMask is IPSET_ATTR_BITMASK of linux/netfilter/ipset/ip_set.h.
const attrBitMask = 12

func (h *header) read(data []byte) {
	for kind, value := range attributes(data) {
		switch kind {
		case nl.IPSET_ATTR_NETMASK:
			h.netMask = int(first(value))
		case attrBitMask:
			h.bitMask = true
		}
	}
}

func (h *header) set(name string) (*Set, error) {
	set, err := New(name, h.typeName, h.family)
	if err != nil {
		return nil, err
	}
	if h.bitMask && h.netMask == 0 {
		return nil, &UnsupportedError{fmt.Sprintf("the set %q has a bitmask, which is not supported", name)}
	}
	return set, set.mask(h.netMask)
}

// addKernel adds a member from its attributes.
func (s *Set) addKernel(data []byte) error {
	var addresses [2]netip.Addr
	var masks [2]int
	var mac []byte
	var port uint16
	proto := uint8(unix.IPPROTO_TCP)
	noMatch := false
	for kind, value := range attributes(data) {
		switch kind {
		case nl.IPSET_ATTR_IP:
			addresses[0] = address(value)
		case nl.IPSET_ATTR_IP2:
			addresses[1] = address(value)
		case nl.IPSET_ATTR_CIDR:
			masks[0] = int(first(value))
		case nl.IPSET_ATTR_CIDR2:
			masks[1] = int(first(value))
		case nl.IPSET_ATTR_ETHER:
			mac = value
		case nl.IPSET_ATTR_PROTO:
			proto = first(value)
		case nl.IPSET_ATTR_PORT:
			if len(value) == 2 {
				port = binary.BigEndian.Uint16(value)
			}
		case nl.IPSET_ATTR_CADT_FLAGS:
			noMatch = len(value) == 4 && binary.BigEndian.Uint32(value)&nl.IPSET_FLAG_NOMATCH != 0
		}
	}
	values := make([][]element, len(s.Kinds))
	nth := 0
	for i, kind := range s.Kinds {
		switch kind {
		case Port:
			values[i] = []element{portElement(proto, port)}
			if s.Type == "bitmap:port" {
				values[i] = []element{portElement(bitmapProtocols[0], port), portElement(bitmapProtocols[1], port)}
			}
		case MAC:
			if len(mac) != 6 {
				return errors.New("a member has no MAC address")
			}
			values[i] = []element{macElement(mac)}
		default:
			a, bits := addresses[nth], masks[nth]
			nth++
			if !a.IsValid() || a.Is4() != (s.Family == 4) {
				return errors.New("a member has no address of the set's family")
			}
			// A prefix of the whole length is not told.
			if bits == 0 {
				bits = a.BitLen()
			}
			if bits > a.BitLen() {
				return fmt.Errorf("a member has a mask of %d bits", bits)
			}
			var err error
			if values[i], err = s.addresses(i, netip.PrefixFrom(a, bits)); err != nil {
				return err
			}
		}
	}
	s.addAll(values, noMatch)
	return nil
}

// address reads a nested IPSET_ATTR_IPADDR_IPV4 or _IPV6.
func address(nested []byte) netip.Addr {
	for _, value := range attributes(nested) {
		a, _ := netip.AddrFromSlice(value)
		return a
	}
	return netip.Addr{}
}

func first(b []byte) uint8 {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// attributes calls yield for each attribute with its type, without the flags
// for nesting and byte order, and its value.
func attributes(b []byte) func(yield func(kind int, value []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			length := int(nl.NativeEndian().Uint16(b))
			kind := int(nl.NativeEndian().Uint16(b[2:]) & nl.NLA_TYPE_MASK)
			if length < unix.SizeofNlAttr || length > len(b) {
				return
			}
			if !yield(kind, b[unix.SizeofNlAttr:length]) {
				return
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}
