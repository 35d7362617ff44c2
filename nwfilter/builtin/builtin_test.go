package builtin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

const broadcast = "ff:ff:ff:ff:ff:ff"

// facts are libvirt's 24 filters and our own: the chain and its priority, then what
// stands in the filter.
var facts = map[string][]string{
	"clean-traffic": {"root 0", "→ no-mac-spoofing", "→ no-ip-spoofing", "out accept -650: mac protocolid=ipv4", "→ allow-incoming-ipv4",
		"→ no-arp-spoofing", "inout accept -500: mac protocolid=arp", "→ no-other-l2-traffic", "→ qemu-announce-self"},
	"clean-traffic-gateway": {"root 0", "→ no-mac-spoofing", "→ no-ip-spoofing", "→ no-arp-spoofing", "inout accept -500: mac protocolid=arp",
		"in accept 500: mac srcmacaddr=$GATEWAY_MAC", "out accept 500: mac dstmacaddr=$GATEWAY_MAC", "→ no-other-l2-traffic", "→ qemu-announce-self"},
	"no-mac-spoofing":  {"mac -800", "out return 500: mac srcmacaddr=$MAC", "out drop 500: mac"},
	"no-ip-spoofing":   {"ipv4-ip -710", "out return 100: ip srcipaddr=0.0.0.0 protocol=udp", "out return 500: ip srcipaddr=$IP", "out drop 1000: any"},
	"no-ipv6-spoofing": {"ipv6-ip -610", "out return 100: ipv6 srcipaddr=fe80:: srcipmask=10 protocol=udp", "out return 500: ipv6 srcipaddr=$IPV6", "out drop 1000: any"},

	"no-arp-mac-spoofing":   {"arp-mac -520", "out return 350: arp arpsrcmacaddr=$MAC", "out drop 1000: any"},
	"no-arp-ip-spoofing":    {"arp-ip -510", "out return 400: arp arpsrcipaddr=$IP", "out drop 1000: any"},
	"no-arp-spoofing":       {"root 0", "→ no-arp-mac-spoofing", "→ no-arp-ip-spoofing"},
	"no-other-l2-traffic":   {"root 0", "inout drop 1000: any"},
	"no-other-rarp-traffic": {"rarp -400", "inout drop 1000: any"},
	"no-ip-multicast":       {"ipv4 -700", "out drop 500: ip dstipaddr=224.0.0.0 dstipmask=4"},
	"no-ipv6-multicast":     {"ipv6 -600", "out drop 500: ipv6 dstipaddr=ff00:: dstipmask=8"},
	"no-mac-broadcast":      {"ipv4 -700", "out drop 500: mac dstmacaddr=" + broadcast},

	"allow-arp":           {"arp -500", "inout accept 500: any"},
	"allow-ipv4":          {"ipv4 -700", "inout accept 500: any"},
	"allow-ipv6":          {"ipv6 -600", "inout accept 500: any"},
	"allow-incoming-ipv4": {"ipv4 -700", "in accept 500: any"},
	"allow-incoming-ipv6": {"ipv6 -600", "in accept 500: any"},
	"allow-dhcp": {"ipv4 -700",
		"out accept 100: ip srcipaddr=0.0.0.0 dstipaddr=255.255.255.255 protocol=udp srcportstart=68 dstportstart=67",
		"in accept 100: ip protocol=udp srcportstart=67 dstportstart=68"},
	"allow-dhcp-server": {"ipv4 -700",
		"out accept 100: ip srcipaddr=0.0.0.0 dstipaddr=255.255.255.255 protocol=udp srcportstart=68 dstportstart=67",
		"in accept 100: ip srcipaddr=$DHCPSERVER protocol=udp srcportstart=67 dstportstart=68"},
	"allow-dhcpv6": {"ipv6 -600",
		"out accept 100: ipv6 srcipaddr=fe80:: srcipmask=10 dstipaddr=ff02::1:2 protocol=udp srcportstart=546 dstportstart=547",
		"in accept 100: ipv6 protocol=udp srcportstart=547 dstportstart=546"},
	"allow-dhcpv6-server": {"ipv6 -600",
		"out accept 100: ipv6 srcipaddr=fe80:: srcipmask=10 dstipaddr=ff02::1:2 protocol=udp srcportstart=546 dstportstart=547",
		"in accept 100: ipv6 srcipaddr=$DHCPSERVER protocol=udp srcportstart=547 dstportstart=546"},
	"qemu-announce-self": {"root 0", "out accept 500: mac protocolid=0x835", "→ qemu-announce-self-rarp", "→ no-other-rarp-traffic"},
	"qemu-announce-self-rarp": {"rarp -400",
		"out accept 500: rarp srcmacaddr=$MAC dstmacaddr=" + broadcast + " opcode=Request_Reverse arpsrcmacaddr=$MAC arpdstmacaddr=$MAC arpsrcipaddr=0.0.0.0 arpdstipaddr=0.0.0.0",
		"in accept 500: rarp dstmacaddr=" + broadcast + " opcode=Request_Reverse arpsrcmacaddr=$MAC arpdstmacaddr=$MAC arpsrcipaddr=0.0.0.0 arpdstipaddr=0.0.0.0"},

	"clean-traffic-ipv6": {"root 0", "→ no-mac-spoofing", "→ no-nd-spoofing", "→ no-ipv6-source-spoofing", "→ no-dhcpv6-server",
		"out accept -550: mac protocolid=ipv6", "→ allow-incoming-ipv6", "→ no-other-l2-traffic", "→ qemu-announce-self"},
	"clean-traffic-dual": {"root 0", "→ no-mac-spoofing", "→ no-ip-spoofing", "out accept -650: mac protocolid=ipv4", "→ allow-incoming-ipv4",
		"→ no-nd-spoofing", "→ no-ipv6-source-spoofing", "→ no-dhcpv6-server", "out accept -550: mac protocolid=ipv6", "→ allow-incoming-ipv6",
		"→ no-arp-spoofing", "inout accept -500: mac protocolid=arp", "→ no-other-l2-traffic", "→ qemu-announce-self"},
	"no-nd-spoofing":     {"root 0", "→ no-ipv6-router", "→ no-nd-mac-spoofing", "→ no-nd-ip-spoofing", "→ no-nd-target-spoofing"},
	"no-ipv6-router":     {"ipv6-router -650", "out drop 500: ipv6 protocol=icmpv6 type=134", "out drop 500: ipv6 protocol=icmpv6 type=137", "out return 1000: any"},
	"no-nd-mac-spoofing": {"ipv6-nd-mac -640", "out drop 500: ipv6 protocol=icmpv6 type=133 typeend=137 ndmacaddr!=$MAC", "out return 1000: any"},
	"no-nd-ip-spoofing": {"ipv6-nd-ip -630", "out return 100: ipv6 srcipaddr=:: protocol=icmpv6 type=133", "out return 100: ipv6 srcipaddr=:: protocol=icmpv6 type=135",
		"out return 500: ipv6 srcipaddr=$IPV6", "out drop 900: ipv6 protocol=icmpv6 type=133 typeend=137", "out return 1000: any"},
	"no-nd-target-spoofing": {"ipv6-target -620", "out return 500: ipv6 protocol=icmpv6 type=136 ndtargetipaddr=$IPV6",
		"out drop 900: ipv6 protocol=icmpv6 type=136", "out return 1000: any"},
	"no-ipv6-source-spoofing": {"ipv6-source -615", "out return 100: ipv6 srcipaddr=:: protocol=icmpv6 type=131 typeend=133", "out return 100: ipv6 srcipaddr=:: protocol=icmpv6 type=135",
		"out return 100: ipv6 srcipaddr=:: protocol=icmpv6 type=143", "out return 500: ipv6 srcipaddr=$IPV6", "out drop 1000: any"},
	"no-dhcpv6-server": {"ipv6-dhcp -605", "out drop 500: ipv6 protocol=udp dstportstart=546", "out return 1000: any"},
}

func describe(f *nwfilter.Filter) []string {
	out := []string{fmt.Sprintf("%s %d", f.Chain, f.ChainPriority)}
	for _, entry := range f.Entries {
		if entry.Reference != nil {
			out = append(out, "→ "+entry.Reference.Filter)
			continue
		}
		r := entry.Rule
		text := fmt.Sprintf("%s %s %d: ", r.Direction, r.Action, r.Priority)
		if r.Protocol == nil {
			text += "any"
		} else {
			text += r.Protocol.Name
		}
		for _, a := range r.Attributes {
			equal := "="
			if a.Negated {
				equal = "!="
			}
			text += " " + a.Spec.Name + equal + a.Value.Text
		}
		out = append(out, text)
	}
	return out
}

func TestFacts(t *testing.T) {
	if got := len(builtin.Names()); got != len(facts) || got != 24+9 {
		t.Errorf("%d built-in filters, %d facts", got, len(facts))
	}
	for _, f := range builtin.All() {
		if diff := cmp.Diff(facts[f.Name], describe(f)); diff != "" {
			t.Errorf("%s (-fact +filter):\n%s", f.Name, diff)
		}
	}
}

func TestReferencesExist(t *testing.T) {
	for _, f := range builtin.All() {
		for _, entry := range f.Entries {
			if entry.Reference != nil && builtin.Get(entry.Reference.Filter) == nil {
				t.Errorf("%s: no built-in filter %q", f.Name, entry.Reference.Filter)
			}
		}
	}
	if builtin.Get("none") != nil || builtin.Source("none") != "" {
		t.Error("a filter that does not exist was found")
	}
}

func TestPositionsAndSource(t *testing.T) {
	f := builtin.Get("clean-traffic")
	if got, want := f.Entries[2].Rule.Pos.String(), "clean-traffic (built in):9:3"; got != want {
		t.Errorf("position %q, want %q", got, want)
	}
	if !strings.Contains(builtin.Source("clean-traffic"), "<!--") {
		t.Error("the source has lost its comment")
	}
}
