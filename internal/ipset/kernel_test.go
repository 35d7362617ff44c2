package ipset

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// message makes one of IPSET_CMD_LIST's messages; header is nil in those that
// go on with members.
func message(typeName string, header []*nl.RtAttr, members ...*nl.RtAttr) []byte {
	b := []byte{0, 0, 0, 0} // struct nfgenmsg
	add := func(a *nl.RtAttr) { b = append(b, a.Serialize()...) }
	add(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated("test")))
	if header != nil {
		add(nl.NewRtAttr(nl.IPSET_ATTR_TYPENAME, nl.ZeroTerminated(typeName)))
		add(nl.NewRtAttr(nl.IPSET_ATTR_FAMILY, []byte{unix.AF_INET}))
		data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
		for _, a := range header {
			data.AddChild(a)
		}
		add(data)
	}
	adt := nl.NewRtAttr(nl.IPSET_ATTR_ADT|unix.NLA_F_NESTED, nil)
	for _, m := range members {
		adt.AddChild(m)
	}
	add(adt)
	return b
}

func ipv4Member(address ...byte) *nl.RtAttr {
	m := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	ip := m.AddRtAttr(nl.IPSET_ATTR_IP|unix.NLA_F_NESTED, nil)
	ip.AddRtAttr(nl.IPSET_ATTR_IPADDR_IPV4|unix.NLA_F_NET_BYTEORDER, address)
	return m
}

func TestDecode(t *testing.T) {
	size := nl.NewRtAttr(nl.IPSET_ATTR_HASHSIZE|unix.NLA_F_NET_BYTEORDER, []byte{0, 0, 4, 0})
	netmask := nl.NewRtAttr(nl.IPSET_ATTR_NETMASK, []byte{24})
	bitmask := nl.NewRtAttr(attrBitMask|unix.NLA_F_NESTED, nil)

	got, err := decode("test", [][]byte{message("hash:ip", []*nl.RtAttr{size}, ipv4Member(10, 0, 0, 1)), message("", nil, ipv4Member(10, 0, 0, 2))})
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, got, build(t, "hash:ip", 4, "10.0.0.1", "10.0.0.2"))

	got, err = decode("test", [][]byte{message("hash:ip", []*nl.RtAttr{size, netmask}, ipv4Member(10, 0, 7, 0))})
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, got, build(t, "hash:ip", 4, "10.0.7.0/24"))

	for fault, messages := range map[string][][]byte{
		"has a bitmask":                 {message("hash:ip", []*nl.RtAttr{bitmask})},
		"list:set, which is not":        {message("list:set", []*nl.RtAttr{size})},
		"no address of the set's":       {message("hash:ip", []*nl.RtAttr{size}, ipv4Member(10, 0, 0))},
		"no MAC address":                {message("hash:mac", []*nl.RtAttr{size}, ipv4Member(10, 0, 0, 1))},
		"a message of 2 bytes":          {{0, 0}},
		"the kernel has no such set in": nil,
	} {
		if _, err := decode("test", messages); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%v, want %q", err, fault)
		}
	}
	var unsupported *UnsupportedError
	if _, err := decode("test", [][]byte{message("list:set", []*nl.RtAttr{size})}); !errors.As(err, &unsupported) {
		t.Errorf("%v is no UnsupportedError", err)
	}
}

// FuzzDecode: whatever a message holds, reading it ends and panics nowhere.
func FuzzDecode(f *testing.F) {
	f.Add(message("hash:ip", []*nl.RtAttr{}, ipv4Member(10, 0, 0, 1)))
	f.Add(message("hash:ip,port,net", []*nl.RtAttr{}, ipv4Member(10, 0, 0, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decode("test", [][]byte{b}); err == nil && s == nil {
			t.Error("neither set nor error")
		}
	})
}

func TestDigest(t *testing.T) {
	set := build(t, "hash:net", 4, "10.0.0.0/8", "10.1.0.0/16 nomatch")
	if set.Digest() != build(t, "hash:net", 4, "10.1.0.0/16 nomatch", "10.0.0.0/8").Digest() {
		t.Error("the order of members counts")
	}
	for _, other := range [][]string{{"10.0.0.0/8"}, {"10.0.0.0/8", "10.1.0.0/16"}, {"10.0.0.0/8", "10.1.0.0/17 nomatch"}, nil} {
		if set.Digest() == build(t, "hash:net", 4, other...).Digest() {
			t.Errorf("the same digest as %v", other)
		}
	}
}
