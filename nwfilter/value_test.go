package nwfilter

import (
	"strings"
	"testing"
)

// spec finds "protocol.attribute" in the table.
func spec(t *testing.T, path string) (*Protocol, *AttributeSpec) {
	t.Helper()
	protocol, attribute, _ := strings.Cut(path, ".")
	p := LookupProtocol(protocol)
	if p == nil || p.Attribute(attribute) == nil {
		t.Fatalf("no attribute %s", path)
	}
	return p, p.Attribute(attribute)
}

func TestParseValue(t *testing.T) {
	const refused = "refused"
	for _, c := range []struct{ attribute, text, want string }{
		{"icmp.type", "10", "10"}, {"icmp.type", "ff", "0xff"}, {"icmp.type", "0x10", "0x10"}, {"icmp.type", "0XfF", "0xff"}, {"icmp.type", "010", "10"},
		{"icmp.type", " +7", "7"}, {"icmp.type", "256", refused}, {"icmp.type", "-1", refused}, {"icmp.type", "7 ", refused},
		{"icmp.type", "", refused}, {"icmp.type", "0x", refused}, {"icmp.type", "1_0", refused}, {"icmp.type", "http", refused},
		{"tcp.dstportstart", "65535", "65535"}, {"tcp.dstportstart", "0x35", "0x35"}, {"tcp.dstportstart", "65536", refused},
		{"tcp.connlimit-above", "5", "5"}, {"tcp.connlimit-above", "0x5", refused}, {"tcp.connlimit-above", "a", refused},
		{"stp.root-cost", "4294967295", "4294967295"}, {"stp.root-cost", "-1", "4294967295"}, {"stp.root-cost", "-4294967295", "1"}, {"stp.root-cost", "4294967296", refused},
		{"tcp.dscp", "63", "63"}, {"tcp.dscp", "64", refused}, {"tcp.dscp", "0x3f", "0x3f"},
		{"vlan.vlanid", "4095", "4095"}, {"vlan.vlanid", "4096", refused},

		{"mac.protocolid", "0x600", "0x600"}, {"mac.protocolid", "1535", refused}, {"mac.protocolid", "0x0806", "arp"}, {"mac.protocolid", "2048", "ipv4"},
		{"mac.protocolid", "IPv6", "ipv6"}, {"mac.protocolid", "stp", refused}, {"mac.protocolid", "33024", "vlan"},
		{"vlan.encap-protocol", "0x3c", "0x3c"}, {"vlan.encap-protocol", "59", refused},
		{"arp.opcode", "1", "Request"}, {"arp.opcode", "rEPLY", "Reply"}, {"arp.opcode", "0x9", "ARP_NAK"}, {"arp.opcode", "0x10", "16"}, {"arp.opcode", "65536", refused},
		{"ip.protocol", "TCP", "tcp"}, {"ip.protocol", "58", "icmpv6"}, {"ip.protocol", "0x84", "sctp"}, {"ip.protocol", "0x2", "igmp"}, {"ip.protocol", "47", "47"}, {"ip.protocol", "dccp", refused},

		{"mac.srcmacaddr", "0:1:A:bc:D:ef", "00:01:0a:bc:0d:ef"}, {"mac.srcmacaddr", "0-1-2-3-4-5", refused}, {"mac.srcmacaddr", "1:2:3:4:5", refused},
		{"mac.srcmacaddr", "1:2:3:4:5:6:7", refused}, {"mac.srcmacaddr", " 1:2:3:4:5:6", refused}, {"mac.srcmacaddr", "1:2:3:4:5:006", refused},
		{"mac.srcmacaddr", "1:2:3:4:5:6 x", "01:02:03:04:05:06"}, {"mac.srcmacaddr", "1:2::4:5:6", refused},
		{"mac.srcmacmask", "ff:ff:ff:0:0:0", "ff:ff:ff:00:00:00"}, {"mac.srcmacmask", "0:0:0:0:0:0", "00:00:00:00:00:00"},
		{"mac.srcmacmask", "ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff"}, {"mac.srcmacmask", "ff:ff:0:ff:0:0", refused}, {"mac.srcmacmask", "24", refused},

		{"tcp.srcipaddr", "1.2.3.4", "1.2.3.4"}, {"tcp.srcipaddr", "1.2.3", "1.2.0.3"}, {"tcp.srcipaddr", "16909060", "1.2.3.4"}, {"tcp.srcipaddr", "0x01020304", "1.2.3.4"},
		{"tcp.srcipaddr", "010.0.0.1", "8.0.0.1"}, {"tcp.srcipaddr", "1.65536", "1.1.0.0"}, {"tcp.srcipaddr", "1.2.65536", refused}, {"tcp.srcipaddr", "10.16777216", refused}, {"tcp.srcipaddr", "10.16777215", "10.255.255.255"},
		{"tcp.srcipaddr", "1.2.3.256", refused}, {"tcp.srcipaddr", "1.2.3.4.5", refused}, {"tcp.srcipaddr", "localhost", refused}, {"tcp.srcipaddr", "1.2.3.4/24", refused},
		{"tcp.srcipaddr", " 1.2.3.4", refused}, {"tcp.srcipaddr", "::1", refused}, {"tcp.srcipaddr", "08.0.0.1", refused}, {"tcp.srcipaddr", "1..2", refused},
		{"tcp.srcipmask", "24", "24"}, {"tcp.srcipmask", "33", refused}, {"tcp.srcipmask", "255.255.255.252", "30"}, {"tcp.srcipmask", "255.0.255.0", refused},
		{"tcp.srcipmask", "0.0.0.0", "0"}, {"tcp.srcipmask", "0xffffff00", refused}, {"tcp.srcipmask", "-1", refused}, {"tcp.srcipmask", "0", "0"},

		{"tcp-ipv6.srcipaddr", "FD77:0::1", "fd77::1"}, {"tcp-ipv6.srcipaddr", "::ffff:1.2.3.4", "::ffff:1.2.3.4"}, {"tcp-ipv6.srcipaddr", "::102:304", "::1.2.3.4"},
		{"tcp-ipv6.srcipaddr", "::1", "::1"}, {"tcp-ipv6.srcipaddr", "fe80::1%eth0", refused}, {"tcp-ipv6.srcipaddr", "fe80::/64", refused}, {"tcp-ipv6.srcipaddr", "1.2.3.4", refused},
		{"tcp-ipv6.dstipto", "fd77::20", "fd77::20"}, {"tcp-ipv6.dstipto", "1.2.3.4", refused},
		{"tcp-ipv6.srcipmask", "128", "128"}, {"tcp-ipv6.srcipmask", "129", refused}, {"tcp-ipv6.srcipmask", "ffff:ffff::", "32"}, {"tcp-ipv6.srcipmask", "::", "0"},
		{"tcp-ipv6.srcipmask", "ffff:0:ffff::", refused}, {"tcp-ipv6.srcipmask", "ffff:ffff:ffff:ffff:8000::", "65"}, {"tcp-ipv6.srcipmask", "ffff:ffff:ffff:fffe:8000::", refused},

		{"arp.gratuitous", "true", "true"}, {"arp.gratuitous", "yes", "true"}, {"arp.gratuitous", "1", "true"}, {"arp.gratuitous", "TRUE", "false"},
		{"tcp.state", "established, new", "NEW,ESTABLISHED"}, {"tcp.state", "NEWESTABLISHED", "NEW,ESTABLISHED"}, {"tcp.state", ",,RELATED,", "RELATED"},
		{"tcp.state", "NEW,NONE", "NONE"}, {"tcp.state", "", ""}, {"tcp.state", "NEWER", refused}, {"tcp.state", "-1", refused},
		{"tcp.flags", "SYN,ACK/SYN", "SYN,ACK/SYN"}, {"tcp.flags", "all/none", "ALL/NONE"}, {"tcp.flags", "/", "NONE/NONE"}, {"tcp.flags", "synFIN/fin", "FIN,SYN/FIN"},
		{"tcp.flags", "SYN", refused}, {"tcp.flags", "SYN/ACK/FIN", refused}, {"tcp.flags", "URG,PSH,RST,ACK,SYN,FIN/", "ALL/NONE"}, {"tcp.flags", "ECE/ECE", refused},
		{"all.ipset", "my set_1.-:+", "my set_1.-:+"}, {"all.ipset", "", ""}, {"all.ipset", strings.Repeat("x", 32), refused}, {"all.ipset", "a/b", refused},
		{"all.ipsetflags", "SRC,dst", "src,dst"}, {"all.ipsetflags", "", refused}, {"all.ipsetflags", "src,,dst", refused},
		{"all.ipsetflags", "src,src,src,src,src,src", "src,src,src,src,src,src"}, {"all.ipsetflags", "src,src,src,src,src,src,src", refused},
		{"all.comment", strings.Repeat("é", 130), strings.Repeat("é", 128)}, {"all.comment", "<&>", "<&>"},

		{"tcp.srcipaddr", "$IP", "$IP"}, {"tcp.srcipaddr", "$IP[@0]", "$IP"}, {"tcp.srcipaddr", "$IP[@12]", "$IP[@12]"}, {"tcp.srcipaddr", "$IP[ 3 ] x", "$IP[3]"},
		{"tcp.srcipaddr", "$IP[4294967295]", "$IP[4294967295]"}, {"tcp.srcipaddr", "$IP[4294967296]", refused}, {"tcp.srcipaddr", "$IP[@1001]", refused},
		{"tcp.srcipaddr", "$", "$"}, {"tcp.srcipaddr", "$[1]", "$[1]"}, {"tcp.srcipaddr", "$ IP", refused}, {"tcp.srcipaddr", "$IP-1", refused},
		{"tcp.srcipaddr", "$IP[x]", refused}, {"tcp.srcipaddr", "$IP[1", refused}, {"tcp.srcipaddr", "$IP[]", refused}, {"tcp.srcipaddr", "$IP[@ 1]", "$IP[@1]"},
	} {
		_, s := spec(t, c.attribute)
		v, err := s.ParseValue(c.text)
		got := v.Text
		if err != nil {
			got = refused
		}
		if got != c.want {
			t.Errorf("%s=%q: got %q, want %q", c.attribute, c.text, got, c.want)
		}
	}
}

func TestParseValueNumbers(t *testing.T) {
	for _, c := range []struct {
		attribute, text string
		want            uint64
	}{
		{"mac.srcmacaddr", "52:54:00:00:00:01", 0x525400000001},
		{"mac.protocolid", "ipv4", 0x800},
		{"tcp.srcipmask", "255.255.0.0", 16},
		{"tcp.state", "RELATED,ESTABLISHED", StateRelated | StateEstablished},
		{"tcp.flags", "SYN,ACK/SYN", 0x12<<8 | 0x02},
		{"tcp.flags", "ALL/NONE", 0x3f << 8},
		{"arp.gratuitous", "yes", 1},
		{"icmp.type", "ff", 255},
	} {
		_, s := spec(t, c.attribute)
		if v, err := s.ParseValue(c.text); err != nil || v.Number != c.want {
			t.Errorf("%s=%q: %#x, %v; want %#x", c.attribute, c.text, v.Number, err, c.want)
		}
	}
}

func TestParseVariableValue(t *testing.T) {
	const refused = "refused"
	for _, c := range []struct{ attribute, text, want string }{
		{"udp.dstportstart", "53", "53"}, {"udp.dstportstart", "0x35", refused}, {"udp.dstportstart", "dns", refused}, {"udp-ipv6.srcportend", "0x35", refused},
		{"tcp.dstportstart", "0x35", "0x35"}, {"sctp.dstportstart", "0x35", "0x35"}, {"tcp-ipv6.dstportstart", "0X35", "0x35"}, {"tcp.dstportstart", "ff", refused},
		{"tcp.dstportstart", "http", refused}, {"tcp.dstportstart", "010", refused}, {"tcp.dstportstart", "0", "0"}, {"tcp.dstportstart", "65536", refused},
		{"tcp.dstportstart", "", refused}, {"tcp.dstportstart", " 1", refused}, {"tcp.dstportstart", "+1", refused}, {"tcp.dstportstart", "-1", refused}, {"tcp.dstportstart", "0x-1", refused},
		{"udp.dscp", "0x3f", "0x3f"}, {"ip.dstportstart", "0x35", "0x35"}, {"stp.root-cost", "-1", refused}, {"stp.root-cost", "0xffffffff", "0xffffffff"},
		{"mac.protocolid", "IPv4", "ipv4"}, {"mac.protocolid", "0x0801", "0x801"}, {"mac.protocolid", "86dd", "ipv6"}, {"mac.protocolid", "5ff", refused},
		{"vlan.encap-protocol", "800", "ipv4"}, {"vlan.encap-protocol", "3b", refused},
		{"arp.opcode", "Request", "Request"}, {"arp.opcode", "2", "Reply"}, {"ip.protocol", "udp", "udp"}, {"ip.protocol", "icmp6", refused},
		{"tcp.srcipaddr", "10.0.0.1", "10.0.0.1"}, {"tcp.srcipaddr", "localhost", refused}, {"tcp.srcipaddr", "10.1", refused}, {"tcp.srcipaddr", "010.0.0.1", refused}, {"tcp.srcipaddr", "::1", refused},
		{"tcp-ipv6.srcipaddr", "fd77::1", "fd77::1"}, {"tcp-ipv6.srcipaddr", "10.0.0.1", refused}, {"tcp-ipv6.dstipto", "fd77::2", "fd77::2"},
		{"tcp.srcipmask", "24", "24"}, {"tcp.srcipmask", "255.255.255.0", "24"}, {"tcp.srcipmask", "+24", refused}, {"tcp-ipv6.srcipmask", "64", "64"}, {"tcp-ipv6.srcipmask", "::", "0"},
		{"mac.srcmacaddr", "52:54:0:0:0:1", "52:54:00:00:00:01"}, {"mac.srcmacaddr", "52:54:0:0:0:1 ", refused}, {"mac.srcmacaddr", "$MAC", refused},
		{"all.ipset", "blocked", "blocked"}, {"all.ipset", "", refused}, {"all.ipsetflags", "src", "src"},
		{"tcp.state", "NEW", refused}, {"tcp.flags", "SYN/SYN", refused}, {"arp.gratuitous", "true", refused}, {"all.comment", "x", refused},
	} {
		p, s := spec(t, c.attribute)
		v, err := s.ParseVariableValue(p, c.text)
		got := v.Text
		if err != nil {
			got = refused
		}
		if got != c.want {
			t.Errorf("%s through %q: got %q (%v), want %q", c.attribute, c.text, got, err, c.want)
		}
	}
}

func TestValueErrorSaysWhatIsExpected(t *testing.T) {
	p, s := spec(t, "udp.dstportstart")
	_, err := s.ParseVariableValue(p, "dns")
	if want := `"dns" is not a number from 0 to 65535, in decimal`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, s = spec(t, "tcp.state")
	_, err = s.ParseVariableValue(p, "NEW")
	if want := `"NEW" is not possible: a variable cannot stand for state`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
