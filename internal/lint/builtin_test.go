package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/examples"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

// brief is a finding as "filter:line kind".
func brief(f Finding) string {
	text := fmt.Sprintf("%s:%d %s", f.Filter, f.Pos.Line, f.Kind.ID)
	if f.Severity == Problem {
		text += " problem"
	}
	return text
}

func briefs(findings []Finding) []string {
	list := []string{}
	for _, f := range findings {
		list = append(list, brief(f))
	}
	return list
}

// TestBuiltInFilters lists all that is said about them. Each is true.
func TestBuiltInFilters(t *testing.T) {
	const (
		// The chain is an allow list without an end: at the link stage the
		// end of the chain accepts all other IP, in whatever direction the
		// rule is for. The filter restricts nothing by itself.
		onlyAllows = " chain-end"
		// The chain drops some; the end of the chain accepts the rest, so
		// that rules of root that come later are not looked at.
		dropsSome = " chain-end"
		// A binding has to give the variable.
		needs = " missing-variable"
	)
	want := map[string][]string{
		"allow-dhcp":          {"allow-dhcp:5" + onlyAllows, "allow-dhcp:8" + onlyAllows},
		"allow-dhcp-server":   {"allow-dhcp-server:6" + onlyAllows, "allow-dhcp-server:9" + onlyAllows, "allow-dhcp-server:10" + needs},
		"allow-dhcpv6":        {"allow-dhcpv6:5" + onlyAllows, "allow-dhcpv6:8" + onlyAllows},
		"allow-dhcpv6-server": {"allow-dhcpv6-server:6" + onlyAllows, "allow-dhcpv6-server:9" + onlyAllows, "allow-dhcpv6-server:10" + needs},
		// no-other-rarp-traffic, which ends the chain, stands beside it in
		// qemu-announce-self.
		"qemu-announce-self-rarp": {"qemu-announce-self-rarp:5" + onlyAllows, "qemu-announce-self-rarp:8" + onlyAllows},
		"no-ip-multicast":         {"no-ip-multicast:5" + dropsSome},
		"no-ipv6-multicast":       {"no-ipv6-multicast:5" + dropsSome},
		"no-mac-broadcast":        {"no-mac-broadcast:5" + dropsSome},
		// It accepts ethertype 0x835, but only what follows could drop others.
		"qemu-announce-self":    {"qemu-announce-self:6 default-accept"},
		"clean-traffic":         {"no-ip-spoofing:10" + needs},
		"clean-traffic-gateway": {"clean-traffic-gateway:13" + needs, "no-ip-spoofing:10" + needs},
		"no-arp-ip-spoofing":    {"no-arp-ip-spoofing:7" + needs},
		"no-arp-spoofing":       {"no-arp-ip-spoofing:7" + needs},
		"no-ip-spoofing":        {"no-ip-spoofing:10" + needs},
		"no-ipv6-spoofing":      {"no-ipv6-spoofing:11" + needs},

		"clean-traffic-dual":      {"no-ip-spoofing:10" + needs, "no-nd-ip-spoofing:14" + needs},
		"clean-traffic-ipv6":      {"no-nd-ip-spoofing:14" + needs},
		"no-ipv6-source-spoofing": {"no-ipv6-source-spoofing:20" + needs},
		"no-nd-ip-spoofing":       {"no-nd-ip-spoofing:14" + needs},
		"no-nd-spoofing":          {"no-nd-ip-spoofing:14" + needs},
		"no-nd-target-spoofing":   {"no-nd-target-spoofing:8" + needs},
	}
	for _, f := range builtin.All() {
		findings, err := Run(Input{Filter: f.Name, Lookup: builtin.Get})
		if err != nil {
			t.Fatal(err)
		}
		expected := want[f.Name]
		if expected == nil {
			expected = []string{}
		}
		if diff := cmp.Diff(expected, briefs(findings)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", f.Name, diff)
		}
	}
}

// TestBuiltInFiltersForAGuest has nothing to say about the complete ones.
func TestBuiltInFiltersForAGuest(t *testing.T) {
	for _, name := range []string{"clean-traffic", "clean-traffic-gateway", "clean-traffic-ipv6", "clean-traffic-dual"} {
		findings, err := Run(Input{Filter: name, Lookup: builtin.Get, MAC: guestA, Parameters: []nwfilter.Parameter{
			{Name: "IP", Value: "10.0.0.1"}, {Name: "IP", Value: "10.0.0.2"}, {Name: "GATEWAY_MAC", Value: "52:54:00:00:00:99"},
			{Name: "IPV6", Value: "fe80::1"}, {Name: "IPV6", Value: "fd00::1"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			// Not all of them need all of that.
			if f.Kind != UnusedParameter {
				t.Errorf("%s: %s", name, f)
			}
		}
	}
}

// TestExamplesHaveNoProblems: what is said about them is what states and
// helpers in the language come with.
func TestExamplesHaveNoProblems(t *testing.T) {
	for name, text := range map[string][]byte{"ftp-related": examples.FTPRelated, "ftp-states": examples.FTPStates, "ping-only": examples.PingOnly} {
		findings := lintText(t, string(text))
		said := ""
		for _, f := range findings {
			if f.Severity == Problem {
				t.Errorf("%s", f)
			}
			said += f.Kind.ID + " "
		}
		if got := strings.TrimSpace(said); got != "mid-stream icmp-errors missing-variable" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// lintText lints the first of some documents, the others and the built-in
// filters beside it, without parameters.
func lintText(t *testing.T, documents ...string) []Finding {
	t.Helper()
	return lintFor(t, nil, documents...)
}

func lintFor(t *testing.T, params []nwfilter.Parameter, documents ...string) []Finding {
	t.Helper()
	filters := map[string]*nwfilter.Filter{}
	top := ""
	for _, text := range documents {
		f, faults := nwfilter.Parse([]byte(text), "test.xml", nwfilter.Options{})
		if f == nil {
			t.Fatal(faults)
		}
		if top == "" {
			top = f.Name
		}
		filters[f.Name] = f
	}
	values, err := settings.Resolve(nil, params)
	if err != nil {
		t.Fatal(err)
	}
	findings, err := Run(Input{Filter: top, Parameters: params, Settings: values, Lookup: func(name string) *nwfilter.Filter {
		if f := filters[name]; f != nil {
			return f
		}
		return builtin.Get(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return findings
}
