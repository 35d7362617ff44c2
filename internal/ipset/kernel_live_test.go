package ipset

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

// TestRead reads sets that are made for it under names of their own.
func TestRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_NET_ADMIN) to make kernel sets")
	}
	if err := lab.CheckIPSet(); errors.Is(err, lab.ErrNoIPSet) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	port := func(n uint16) *uint16 { return &n }
	udp := uint8(unix.IPPROTO_UDP)
	for _, c := range []struct {
		typeName string
		options  netlink.IpsetCreateOptions
		members  []netlink.IPSetEntry
		want     []string
	}{
		{"hash:ip", netlink.IpsetCreateOptions{}, []netlink.IPSetEntry{{IP: net.ParseIP("10.0.0.1")}, {IP: net.ParseIP("10.0.0.7")}}, []string{"10.0.0.1", "10.0.0.7"}},
		{"hash:ip", netlink.IpsetCreateOptions{Family: unix.AF_INET6}, []netlink.IPSetEntry{{IP: net.ParseIP("fd00::1")}}, []string{"fd00::1"}},
		{"hash:net", netlink.IpsetCreateOptions{}, []netlink.IPSetEntry{{IP: net.ParseIP("10.0.0.0"), CIDR: 8}, {IP: net.ParseIP("192.0.2.9")}}, []string{"10.0.0.0/8", "192.0.2.9"}},
		{"hash:net", netlink.IpsetCreateOptions{Family: unix.AF_INET6}, []netlink.IPSetEntry{{IP: net.ParseIP("fd00::"), CIDR: 64}}, []string{"fd00::/64"}},
		{"hash:ip,port", netlink.IpsetCreateOptions{}, []netlink.IPSetEntry{{IP: net.ParseIP("10.0.0.1"), Port: port(80)}, {IP: net.ParseIP("10.0.0.1"), Port: port(53), Protocol: &udp}}, []string{"10.0.0.1,tcp:80", "10.0.0.1,udp:53"}},
		{"hash:net,port", netlink.IpsetCreateOptions{}, []netlink.IPSetEntry{{IP: net.ParseIP("10.1.0.0"), CIDR: 16, Port: port(80)}}, []string{"10.1.0.0/16,tcp:80"}},
		{"hash:ip,port,ip", netlink.IpsetCreateOptions{}, []netlink.IPSetEntry{{IP: net.ParseIP("10.0.0.1"), Port: port(80), IP2: net.ParseIP("10.0.0.2")}}, []string{"10.0.0.1,80,10.0.0.2"}},
		{"hash:ip,port,net", netlink.IpsetCreateOptions{}, []netlink.IPSetEntry{{IP: net.ParseIP("10.0.0.1"), Port: port(80), IP2: net.ParseIP("10.2.0.0"), CIDR2: 16}}, []string{"10.0.0.1,80,10.2.0.0/16"}},
	} {
		t.Run(c.typeName, func(t *testing.T) {
			name := "tapgate_test"
			if err := netlink.IpsetCreate(name, c.typeName, c.options); err != nil {
				t.Fatal(err)
			}
			defer netlink.IpsetDestroy(name)
			for i := range c.members {
				if err := netlink.IpsetAdd(name, &c.members[i]); err != nil {
					t.Fatalf("%+v: %v", c.members[i], err)
				}
			}
			got, err := Read(name)
			if err != nil {
				t.Fatal(err)
			}
			family := uint8(4)
			if c.options.Family == unix.AF_INET6 {
				family = 6
			}
			sameSet(t, got, build(t, c.typeName, family, c.want...))
		})
	}
	if _, err := Read("tapgate_test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a set that is not there: %v", err)
	}
}

// request adds a member by the attributes that netlink.IpsetAdd does not know,
// or knows too well.
func request(t *testing.T, set string, fill func(data *nl.RtAttr)) {
	t.Helper()
	req := nl.NewNetlinkRequest(nl.IPSET_CMD_ADD|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(nl.IPSET_CMD_ADD))
	req.AddData(&nl.Nfgenmsg{Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(set)))
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	fill(data)
	data.AddRtAttr(nl.IPSET_ATTR_LINENO|unix.NLA_F_NET_BYTEORDER, []byte{0, 0, 0, 0})
	req.AddData(data)
	if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
		t.Fatal(err)
	}
}

// TestReadRaw reads what needs attributes of its own: exceptions, which only
// the flags of a member tell, and bitmaps.
func TestReadRaw(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_NET_ADMIN) to make kernel sets")
	}
	if err := lab.CheckIPSet(); errors.Is(err, lab.ErrNoIPSet) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		typeName string
		options  netlink.IpsetCreateOptions
		fill     []func(*nl.RtAttr)
		want     []string
	}{
		{"hash:net", netlink.IpsetCreateOptions{Revision: 2}, []func(*nl.RtAttr){network(10, 0, 8, 0), network(10, 1, 16, nl.IPSET_FLAG_NOMATCH)}, []string{"10.0.0.0/8", "10.1.0.0/16 nomatch"}},
		{"bitmap:port", netlink.IpsetCreateOptions{PortFrom: 0, PortTo: 1000}, []func(*nl.RtAttr){func(data *nl.RtAttr) {
			data.AddRtAttr(nl.IPSET_ATTR_PORT|unix.NLA_F_NET_BYTEORDER, []byte{0, 22})
		}}, []string{"22"}},
	} {
		name := "tapgate_test"
		if err := netlink.IpsetCreate(name, c.typeName, c.options); err != nil {
			t.Fatal(err)
		}
		defer netlink.IpsetDestroy(name)
		for _, fill := range c.fill {
			request(t, name, fill)
		}
		got, err := Read(name)
		if err != nil {
			t.Fatal(err)
		}
		sameSet(t, got, build(t, c.typeName, 4, c.want...))
		if err := netlink.IpsetDestroy(name); err != nil {
			t.Fatal(err)
		}
	}
}

func network(a, b, length byte, flags uint32) func(*nl.RtAttr) {
	return func(data *nl.RtAttr) {
		ip := data.AddRtAttr(nl.IPSET_ATTR_IP|unix.NLA_F_NESTED, nil)
		ip.AddRtAttr(nl.IPSET_ATTR_IPADDR_IPV4|unix.NLA_F_NET_BYTEORDER, []byte{a, b, 0, 0})
		data.AddRtAttr(nl.IPSET_ATTR_CIDR, []byte{length})
		if flags != 0 {
			data.AddRtAttr(nl.IPSET_ATTR_CADT_FLAGS|unix.NLA_F_NET_BYTEORDER, []byte{0, 0, 0, byte(flags)})
		}
	}
}

// TestReadLarge: a set of this size comes in many messages.
func TestReadLarge(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_NET_ADMIN) to make kernel sets")
	}
	if err := lab.CheckIPSet(); errors.Is(err, lab.ErrNoIPSet) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	name, want := "tapgate_test", build(t, "bitmap:ip", 4, "10.0.0.0-10.0.255.255")
	if err := netlink.IpsetCreate(name, "hash:ip", netlink.IpsetCreateOptions{MaxElements: 1 << 17}); err != nil {
		t.Fatal(err)
	}
	defer netlink.IpsetDestroy(name)
	// One request adds the whole range: a prefix means each of its addresses.
	request(t, name, func(data *nl.RtAttr) { network(10, 0, 16, 0)(data) })
	start := time.Now()
	got, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("read %d members in %v", got.Len(), time.Since(start))
	if got.Len() != 1<<16 || want.Len() != 1 {
		t.Fatalf("%d members", got.Len())
	}
	for e := range got.Entries {
		if e.Bits != 32 || !want.Contains(e.Key) {
			t.Fatalf("%+v", e)
		}
	}
}
