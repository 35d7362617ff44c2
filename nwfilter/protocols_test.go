package nwfilter

import (
	"slices"
	"strings"
	"testing"
)

// TestAttributeOrder writes out the order in which libvirt prints, with what it does
// not have: it is also the order in which variables open slots.
func TestAttributeOrder(t *testing.T) {
	const (
		e = "srcmacaddr srcmacmask dstmacaddr dstmacmask "
		a = "srcipaddr srcipmask dstipaddr dstipmask "
		p = "srcportstart srcportend dstportstart dstportend "
		d = "ndtargetipaddr ndtargetipmask ndmacaddr ndmacmask "
		n = "srcmacaddr " + a + "srcipfrom srcipto dstipfrom dstipto dscp connlimit-above state ipset ipsetflags "
	)
	arp := e + "hwtype protocoltype opcode arpsrcmacaddr arpdstmacaddr arpsrcipaddr arpsrcipmask arpdstipaddr arpdstipmask gratuitous comment"
	want := map[string]string{
		"mac": e + "protocolid comment", "vlan": e + "vlanid encap-protocol comment", "arp": arp, "rarp": arp,
		"stp": "srcmacaddr srcmacmask type flags root-priority root-priority-hi root-address root-address-mask root-cost root-cost-hi " +
			"sender-priority sender-priority-hi sender-address sender-address-mask port port-hi age age-hi max-age max-age-hi " +
			"hello-time hello-time-hi forward-delay forward-delay-hi comment",
		"ip": e + a + "protocol " + p + "dscp comment", "ipv6": e + a + "protocol " + p + "type typeend code codeend " + d + "comment",
		"tcp": n + p + "option flags comment", "tcp-ipv6": n + p + "option comment",
		"udp": n + p + "comment", "udp-ipv6": n + p + "comment", "sctp": n + p + "comment", "sctp-ipv6": n + p + "comment",
		"icmp": n + "type code comment", "icmpv6": n + "type code " + d + "comment",
	}
	for _, name := range []string{"udplite", "esp", "ah", "all"} {
		want[name], want[name+"-ipv6"] = n+"comment", n+"comment"
	}
	want["igmp"] = n + "comment"
	for _, protocol := range Protocols() {
		var names []string
		for _, s := range protocol.Attributes {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != want[protocol.Name] {
			t.Errorf("<%s>:\n got %s\nwant %s", protocol.Name, got, want[protocol.Name])
		}
		delete(want, protocol.Name)
	}
	for name := range want {
		t.Errorf("<%s> is missing", name)
	}
}

// TestPartnersExist guards the names that attributes refer to each other by.
func TestPartnersExist(t *testing.T) {
	for _, p := range Protocols() {
		for _, s := range p.Attributes {
			for _, partner := range []string{s.SignOf, s.NeedsBase, s.OverriddenBy} {
				if partner != "" && (partner == s.Name || p.Attribute(partner) == nil) {
					t.Errorf("%s of <%s> refers to %q", s.Name, p.Name, partner)
				}
			}
			if (s.Type == IPv4 || s.Type == IPv4Mask) && p.Family == FamilyIPv6 {
				t.Errorf("%s of <%s> is of the other family", s.Name, p.Name)
			}
		}
	}
}

func TestStages(t *testing.T) {
	var link []string
	for _, p := range Protocols() {
		if p.Stage == LinkStage {
			link = append(link, p.Name)
		}
		if (p.Stage == LinkStage) != (p.Family == FamilyNone) {
			t.Errorf("<%s>: stage %d, family %d", p.Name, p.Stage, p.Family)
		}
	}
	if want := []string{"mac", "vlan", "stp", "arp", "rarp", "ip", "ipv6"}; !slices.Equal(link, want) {
		t.Errorf("link-stage protocols %v, want %v", link, want)
	}
	if LookupProtocol("TCP") != nil || LookupProtocol("ipv4") != nil {
		t.Error("names are case-sensitive, and ipv4 is a chain")
	}
}

func TestChains(t *testing.T) {
	for _, c := range []struct {
		chain, prefix string
		priority      int
		valid         bool
	}{
		{"root", "root", 0, true}, {"mac", "mac", -800, true}, {"vlan_1", "vlan", -750, true}, {"stp-x", "stp", 0, true},
		{"arpx", "arp", -500, true}, {"rarp", "rarp", -400, true}, {"ipv4-ip", "ipv4", -700, true}, {"ipv6.a:b", "ipv6", -600, true},
		{"rootx", "", 0, false}, {"ARP", "", 0, false}, {"ip", "", 0, false}, {"arp x", "arp", -500, false}, {"ipv4-abcdefgh", "ipv4", -700, false},
		{"arpé", "arp", -500, false},
	} {
		fault := checkChain(c.chain)
		if ChainPrefix(c.chain) != c.prefix || DefaultChainPriority(c.chain) != c.priority || (fault == "") != c.valid {
			t.Errorf("%s: prefix %q, priority %d, fault %q", c.chain, ChainPrefix(c.chain), DefaultChainPriority(c.chain), fault)
		}
	}
}
