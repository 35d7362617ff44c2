package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tapgate/internal/learn"
	"tapgate/nwfilter"
)

const (
	needsIPv4 = `<filter name='v4' chain='ipv4'>
	  <rule action='return' direction='out'><ip srcipaddr='$IP'/></rule>
	  <rule action='drop' direction='out'/>
	</filter>`
	needsIPv6 = `<filter name='v6' chain='ipv6'>
	  <rule action='return' direction='out'><ipv6 srcipaddr='$IPV6'/></rule>
	  <rule action='drop' direction='out'/>
	</filter>`
	needsBoth = `<filter name='both'><filterref filter='v4'/><filterref filter='v6'/></filter>`
)

func leases(texts ...string) []learn.Lease {
	var list []learn.Lease
	for _, text := range texts {
		source := learn.DHCP
		text, offered := strings.CutPrefix(text, "offered ")
		if offered {
			source = learn.Offer
		}
		a, err := netip.ParsePrefix(text)
		if err != nil {
			single := netip.MustParseAddr(text)
			a = netip.PrefixFrom(single, single.BitLen())
		}
		list = append(list, learn.Lease{Address: a, Source: source})
	}
	return list
}

func resolveLearning(t *testing.T, parameters []nwfilter.Parameter, known []learn.Lease, documents ...string) (*Policy, error) {
	t.Helper()
	top, find := lookup(t, documents...)
	return ResolveLearning(top, guestMAC, parameters, known, find)
}

// actions are those of a list, for the filters that they come from.
func origins(p *Policy, d Direction) string { return originsOf(p.Link[d]) }

func originsOf(list *List) string {
	var words []string
	for c := range list.All {
		words = append(words, strings.TrimPrefix(c.Origin.Filter, "learning-")+"/"+c.Action.String())
	}
	return strings.Join(words, " ")
}

func TestWhatIsRestrictedWhileAddressesAreLearned(t *testing.T) {
	const (
		nd    = "nd/accept nd/accept nd/accept nd/accept"
		v4Out = "v4/return v4/drop"
		v6Out = "v6/return v6/drop"
	)
	for _, test := range []struct {
		name       string
		document   string
		parameters []nwfilter.Parameter
		leases     []learn.Lease
		waiting    string
		out        string
		in         string
	}{
		{
			"nothing is known: nothing but what teaches", needsIPv4, nil, nil, "IP",
			"dhcp/accept arp/accept nothing/drop", "dhcp/accept dhcp/accept arp/accept arp/accept nothing/drop",
		},
		{
			"DHCP alone teaches", needsIPv4, params("CTRL_IP_LEARNING=DHCP"), nil, "IP",
			"dhcp/accept nothing/drop", "dhcp/accept dhcp/accept nothing/drop",
		},
		{
			"each trusted server may answer", needsIPv4, params("CTRL_IP_LEARNING=dhcp", "DHCPSERVER=10.0.0.1", "DHCPSERVER=10.0.0.2", "DHCPSERVER=fe80::1"), nil, "IP",
			"dhcp-server/accept nothing/drop", "dhcp-server/accept dhcp-server/accept dhcp-server/accept dhcp-server/accept nothing/drop",
		},
		{"an address is known", needsIPv4, nil, leases("10.0.0.5"), "", v4Out, ""},
		{"two addresses are known", needsIPv4, nil, leases("10.0.0.5", "10.0.0.6"), "", "v4/return v4/return v4/drop", ""},
		{
			"an offer may be taken yet", needsIPv4, nil, leases("offered 10.0.0.5"), "",
			"dhcp/accept " + v4Out, "dhcp/accept dhcp/accept",
		},
		{
			"neither family is known", needsBoth, nil, nil, "IP IPV6",
			"dhcp/accept arp/accept " + nd + " dhcpv6/accept nothing/drop",
			"dhcp/accept dhcp/accept arp/accept arp/accept nd/accept nd/accept dhcpv6/accept nothing/drop",
		},
		{
			"only IPv4 is known", needsBoth, nil, leases("10.0.0.5"), "IPV6",
			nd + " dhcpv6/accept no-ipv6/drop " + v4Out + " " + v6Out, "nd/accept nd/accept dhcpv6/accept no-ipv6/drop",
		},
		{
			"only IPv6 is known", needsBoth, params("CTRL_IP_LEARNING=dhcp", "DHCPSERVERV6=fe80::1"), leases("fe80::5"), "IP",
			"dhcp/accept no-ipv4/drop no-ipv4/drop " + v4Out + " " + v6Out, "dhcp/accept dhcp/accept no-ipv4/drop no-ipv4/drop",
		},
		{
			"IPv6 of a trusted server", needsIPv6, params("DHCPSERVERV6=fe80::1", "DHCPSERVER=fe80::2"), nil, "IPV6",
			nd + " dhcpv6-server/accept nothing/drop", "nd/accept nd/accept dhcpv6-server/accept dhcpv6-server/accept nothing/drop",
		},
		{"what is given is not learned", needsBoth, params("IP=10.0.0.9"), leases("fe80::5", "10.0.0.5"), "", v4Out + " " + v6Out, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := resolveLearning(t, test.parameters, test.leases, test.document, needsIPv4, needsIPv6)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.Learning.Waiting, " "); got != test.waiting {
				t.Errorf("waits for %q, want %q", got, test.waiting)
			}
			if got := origins(p, Out); got != test.out {
				t.Errorf("out %s\nwant %s", got, test.out)
			}
			if got := origins(p, In); got != test.in {
				t.Errorf("in %s\nwant %s", got, test.in)
			}
			if p.Filter != "v4" && p.Filter != "v6" && p.Filter != "both" {
				t.Errorf("filter %s", p.Filter)
			}
			for i, c := range p.Clauses {
				if c.ID != i {
					t.Fatalf("clause %d has the ID %d", i, c.ID)
				}
			}
		})
	}
}

// TestAFamilyThatIsGivenIsKnown: as long as the other one is not, that one alone is
// restricted.
func TestAFamilyThatIsGivenIsKnown(t *testing.T) {
	p, err := resolveLearning(t, params("IP=10.0.0.5", "CTRL_IP_LEARNING=dhcp"), nil, needsBoth, needsIPv4, needsIPv6)
	if err != nil {
		t.Fatal(err)
	}
	if p.Learning.Restricted {
		t.Error("it is restricted")
	}
	const want = "nd/accept nd/accept nd/accept nd/accept dhcpv6/accept no-ipv6/drop v4/return v4/drop v6/return v6/drop"
	if got := origins(p, Out); got != want {
		t.Errorf("out %s\nwant %s", got, want)
	}
}

// TestNetworkStageLetsPassWhatTeaches has a filter with rules of the network stage,
// which neither end DHCP before the address is confirmed nor judge a family without
// an address.
func TestNetworkStageLetsPassWhatTeaches(t *testing.T) {
	const nothing = `<filter name='top'>
	  <filterref filter='v4'/><filterref filter='v6'/>
	  <rule action='drop' direction='inout'><all/></rule>
	  <rule action='reject' direction='inout'><all-ipv6/></rule>
	</filter>`
	for _, test := range []struct {
		name   string
		leases []learn.Lease
		want   string
	}{
		{"nothing is known", nil, "dhcp/accept"},
		{"an offer may be taken yet", leases("offered 10.0.0.5", "fd00::5"), "dhcp/accept top/drop top/reject"},
		{"only IPv4 is known", leases("10.0.0.5"), "no-ipv6/accept top/drop top/reject"},
		{"only IPv6 is known", leases("fd00::5"), "dhcp/accept no-ipv4/accept top/drop top/reject"},
		{"both are known", leases("10.0.0.5", "fd00::5"), "top/drop top/reject"},
	} {
		p, err := resolveLearning(t, nil, test.leases, nothing, needsIPv4, needsIPv6)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range Directions {
			if got := originsOf(p.Network[d]); got != test.want {
				t.Errorf("%s, %s: %s, want %s", test.name, d, got, test.want)
			}
		}
	}
}

func TestAnAddressThatIsGivenNeedsNoLearning(t *testing.T) {
	p, err := resolveLearning(t, params("IP=10.0.0.5"), leases("10.0.0.9"), needsIPv4)
	if err != nil {
		t.Fatal(err)
	}
	if p.Learning != nil || p.Observe != 0 {
		t.Errorf("learns %v, observes %b", p.Learning, p.Observe)
	}
}

func TestWhatCannotBeLearned(t *testing.T) {
	for _, test := range []struct {
		name, document, parameter, want string
	}{
		{"nothing is to be learned", needsIPv4, "CTRL_IP_LEARNING=none", "$IP has no value"},
		{"no such mode", needsIPv4, "CTRL_IP_LEARNING=always", `CTRL_IP_LEARNING: "always" is no way to learn addresses`},
		{"one element of a list", `<filter name='x'><rule action='drop' direction='out'><ip srcipaddr='$IP[0]'/></rule></filter>`, "A=1", "$IP[0] has no value"},
		{"something else, too", `<filter name='x'><rule action='drop' direction='out'><ip srcipaddr='$IP' dstipaddr='$OTHER'/></rule></filter>`, "A=1", "$OTHER has no value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := resolveLearning(t, params(test.parameter), leases("10.0.0.5"), test.document)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAnOperatorsAddressIsEnoughWhereNothingIsLearned(t *testing.T) {
	given := leases("10.0.0.5", "10.0.0.6")
	given[0].Source = learn.Operator
	p, err := resolveLearning(t, params("CTRL_IP_LEARNING=none"), given, needsIPv4)
	if err != nil {
		t.Fatal(err)
	}
	if p.Observe != 0 || origins(p, Out) != "v4/return v4/drop" {
		t.Errorf("observes %b, out %s", p.Observe, origins(p, Out))
	}
}

// TestNobodyReachesRulesOfAnUnknownFamily looks at a rule that lets pass whoever is
// not the guest: while the guest's address is not known, nobody does.
func TestNobodyReachesRulesOfAnUnknownFamily(t *testing.T) {
	p, err := resolveLearning(t, nil, leases("10.0.0.5"), `<filter name='top'>
	  <filterref filter='v4'/>
	  <rule action='accept' direction='out' priority='-1000'><ipv6 match='no' srcipaddr='$IPV6'/></rule>
	</filter>`, needsIPv4)
	if err != nil {
		t.Fatal(err)
	}
	items := p.Link[Out].Items
	drop := slices.IndexFunc(items, func(i Item) bool { return i.Clause != nil && i.Clause.Origin.Filter == "learning-no-ipv6" })
	open := slices.IndexFunc(items, func(i Item) bool { return i.Clause != nil && i.Clause.Origin.Filter == "top" })
	if drop < 0 || open < drop {
		t.Errorf("IPv6 is dropped at place %d, the rule stands at %d", drop, open)
	}
}

func TestADelegatedPrefixIsComparedAsSuch(t *testing.T) {
	for _, test := range []struct{ rule, want string }{
		{"<ipv6 srcipaddr='$IPV6'/>", "src=2001:db8:1::/56"},
		{"<ipv6 srcipaddr='$IPV6' srcipmask='48'/>", "src=2001:db8:1::/48"},
		{"<tcp-ipv6 srcipfrom='$IPV6'/>", "dst=2001:db8:1::/56"},
	} {
		p, err := resolveLearning(t, nil, leases("2001:db8:1::/56"), "<filter name='top'><rule action='drop' direction='out'>"+test.rule+"</rule></filter>")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Clauses[0].String(); !strings.Contains(got, test.want) {
			t.Errorf("%s became %q, want %q", test.rule, got, test.want)
		}
	}
}

// TestLearnedListsNeedNoPartnersOfTheirLength: a binding that gives two addresses
// must give as many of what moves in step with them; a guest that has two need not.
func TestLearnedListsNeedNoPartnersOfTheirLength(t *testing.T) {
	const rule = "<filter name='top'><rule action='drop' direction='out'><ip srcmacaddr='$MAC' srcipaddr='$IP'/></rule></filter>"
	p, err := resolveLearning(t, nil, leases("10.0.0.5", "10.0.0.6"), rule)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Clauses) != 2 {
		t.Errorf("%d clauses, want one for each address", len(p.Clauses))
	}
	if _, err := resolveLearning(t, params("IP=10.0.0.5", "IP=10.0.0.6"), nil, rule); err == nil {
		t.Error("lists of two lengths in step were accepted from a binding")
	}
}
