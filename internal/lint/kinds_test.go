package lint

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
)

// TestFindings has a row for each thing that is found, and for what looks like
// it and is none. want are "line id", and "!" after a problem; missing
// variables are left out.
func TestFindings(t *testing.T) {
	const (
		in      = "<rule action='accept' direction='in'>"
		out     = "<rule action='accept' direction='out'>"
		dropAll = "<rule action='drop' direction='inout' priority='999'><all/></rule>"
		clean   = "<filterref filter='clean-traffic'/>"
	)
	rows := map[string]struct {
		rules []string // from line 2 on, one each
		chain string
		want  []string
	}{
		"shadowed by a wider range":          {rules: []string{in + "<udp dstportstart='1' dstportend='99'/></rule>", in + "<udp dstportstart='53'/></rule>", clean, dropAll}, want: []string{"3 unreachable!", "5 icmp-errors"}},
		"not shadowed beyond the range":      {rules: []string{in + "<udp dstportstart='1' dstportend='99'/></rule>", in + "<udp dstportstart='53' dstportend='100'/></rule>", clean, dropAll}, want: []string{"5 icmp-errors"}},
		"shadowed by two together":           {rules: []string{in + "<udp dstportstart='1' dstportend='9'/></rule>", in + "<udp dstportstart='10' dstportend='20'/></rule>", in + "<udp dstportstart='5' dstportend='15'/></rule>", clean, dropAll}, want: []string{"4 unreachable!", "6 icmp-errors"}},
		"shadowed by a wider prefix":         {rules: []string{"<rule action='drop' direction='out'><ip srcipaddr='10.0.0.0' srcipmask='8'/></rule>", out + "<ip srcipaddr='10.1.0.0' srcipmask='16'/></rule>"}, want: []string{"3 unreachable!", "3 default-accept"}},
		"shadowed by the same variable":      {rules: []string{"<rule action='drop' direction='out'><ip srcipaddr='$A'/></rule>", "<rule action='return' direction='out'><ip srcipaddr='$A' protocol='udp'/></rule>"}, want: []string{"3 unreachable!"}},
		"another variable may be different":  {rules: []string{"<rule action='drop' direction='out'><ip srcipaddr='$A'/></rule>", "<rule action='return' direction='out'><ip srcipaddr='$B'/></rule>"}},
		"a variable may be within a literal": {rules: []string{"<rule action='drop' direction='out'><ip srcipaddr='10.0.0.0' srcipmask='8'/></rule>", "<rule action='return' direction='out'><ip srcipaddr='$B'/></rule>"}},
		"continue shadows nothing":           {rules: []string{"<rule action='continue' direction='out'/>", "<rule action='drop' direction='out'><ip/></rule>"}},
		"flags outside their mask":           {rules: []string{"<rule action='drop' direction='inout'><tcp flags='SYN/ACK'/></rule>"}, want: []string{"2 contradiction!"}},
		"every type negated":                 {rules: []string{"<rule action='drop' direction='in'><icmp match='no' type='255'/></rule>"}, want: []string{"2 contradiction!"}},
		"another protocol's chain":           {chain: "ipv4", rules: []string{"<rule action='drop' direction='out'><arp/></rule>", "<rule action='drop' direction='out'/>"}, want: []string{"2 contradiction!"}},
		"a chain behind an accept":           {rules: []string{"<rule action='drop' direction='out' priority='-900'><mac protocolid='ipv4'/></rule>", "<filterref filter='allow-dhcp'/>"}, want: []string{"5 unreachable!", "8 chain-end"}},
		"a chain behind all of it":           {rules: []string{"<rule action='drop' direction='inout' priority='-900'><mac protocolid='ipv4'/></rule>", "<filterref filter='allow-dhcp'/>"}, want: []string{"8 unreachable-chain!"}},
		"ICMP type both ways":                {rules: []string{"<rule action='accept' direction='inout'><icmp type='8'/></rule>"}, want: []string{"2 no-rule!"}},
		"RELATED without control":            {rules: []string{out + "<tcp srcportstart='20' state='RELATED,ESTABLISHED'/></rule>", clean, dropAll}, want: []string{"2 related-without-helper!", "4 icmp-errors"}},
		"RELATED with control": {rules: []string{in + "<tcp dstportstart='21' state='NEW,ESTABLISHED'/></rule>", out + "<tcp srcportstart='20' state='RELATED,ESTABLISHED'/></rule>", clean, dropAll},
			want: []string{"2 mid-stream", "5 icmp-errors"}},
		"RELATED for UDP":           {rules: []string{out + "<udp state='RELATED'/></rule>", clean, dropAll}, want: []string{"2 related-without-helper!", "4 icmp-errors"}},
		"RELATED for TFTP":          {rules: []string{out + "<udp dstportstart='69'/></rule>", in + "<udp state='RELATED'/></rule>", clean, dropAll}, want: []string{"5 icmp-errors"}},
		"RELATED for echoes":        {rules: []string{out + "<icmp type='8' state='RELATED,NEW'/></rule>", clean, dropAll}, want: []string{"2 related-without-helper"}},
		"RELATED for errors":        {rules: []string{in + "<icmp state='RELATED'/></rule>", in + "<udp dstportstart='53'/></rule>", clean, dropAll}},
		"tags and IPv6 around":      {rules: []string{dropAll}, want: []string{"2 other-family!", "2 vlan-bypass!"}},
		"tags dropped":              {rules: []string{dropAll, "<rule action='drop' direction='inout'><vlan/></rule>", "<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>"}},
		"only some tags dropped":    {rules: []string{dropAll, "<rule action='drop' direction='inout'><vlan vlanid='5'/></rule>", "<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>"}, want: []string{"2 vlan-bypass!", "4 vlan-bypass!"}},
		"IPv4 around":               {rules: []string{"<rule action='drop' direction='inout'><vlan/></rule>", "<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>"}, want: []string{"3 other-family!"}},
		"accept before the check":   {rules: []string{clean, "<rule action='accept' direction='out' priority='-900'><ip protocol='udp'/></rule>"}, want: []string{"3 accept-before-anti-spoofing!", "6 unreachable!"}},
		"accept after the check":    {rules: []string{clean, "<rule action='accept' direction='out' priority='-600'><ip protocol='udp'/></rule>"}, want: []string{"3 unreachable!"}},
		"accept that checks itself": {rules: []string{clean, "<rule action='accept' direction='out' priority='-900'><ip srcmacaddr='$MAC' srcipaddr='$IP' protocol='udp'/></rule>"}},
		"ND dropped":                {rules: []string{in + "<icmpv6 state='NEW,ESTABLISHED'/></rule>", "<rule action='drop' direction='inout'><vlan/></rule>", "<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>", dropAll}, want: []string{"4 neighbour-discovery!"}},
		"ND accepted":               {rules: []string{"<rule action='accept' direction='inout'><icmpv6/></rule>", "<rule action='drop' direction='inout'><vlan/></rule>", "<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>", dropAll}},
		"ND of the guest itself accepted": {rules: []string{"<rule action='accept' direction='in' priority='400'><icmpv6 state='NONE'/></rule>", out + "<icmpv6 type='135' ndmacaddr='$MAC'/></rule>", out + "<icmpv6 type='136' ndtargetipaddr='$IPV6'/></rule>",
			"<rule action='drop' direction='inout'><vlan/></rule>", "<rule action='drop' direction='inout' priority='999'><all-ipv6/></rule>", dropAll}},
		"ND with a state":              {rules: []string{"<rule action='drop' direction='out'><icmpv6 match='no' ndmacaddr='$MAC' state='NEW'/></rule>"}, want: []string{"2 neighbour-discovery!"}},
		"ND without a state":           {rules: []string{"<rule action='drop' direction='out'><icmpv6 match='no' ndmacaddr='$MAC'/></rule>"}},
		"ND types both ways":           {rules: []string{"<rule action='drop' direction='inout'><icmpv6 type='136' ndtargetipaddr='fd00::1'/></rule>"}, want: []string{"2 no-rule!"}},
		"ND targets contradict":        {rules: []string{"<rule action='drop' direction='out'><ipv6 protocol='icmpv6' type='136' ndtargetipaddr='fd00::1'/></rule>", "<rule action='return' direction='out'><ipv6 protocol='icmpv6' type='136' ndtargetipaddr='fd00::1' ndmacaddr='$MAC'/></rule>"}, want: []string{"3 unreachable!"}},
		"gratuitous='false'":           {rules: []string{"<rule action='drop' direction='out'><arp gratuitous='false'/></rule>"}, want: []string{"2 gratuitous-false!"}},
		"ARP addresses that drop":      {rules: []string{"<rule action='drop' direction='out'><arp match='no' arpsrcmacaddr='$MAC'/></rule>"}, want: []string{"2 arp-hardware"}},
		"gratuitous='true'":            {rules: []string{"<rule action='drop' direction='out'><arp gratuitous='true'/></rule>"}},
		"state discarded":              {rules: []string{"<rule action='drop' direction='inout' statematch='false'><tcp state='NEW'/></rule>"}, want: []string{"2 state-ignored!"}},
		"negated variable":             {rules: []string{"<rule action='drop' direction='inout'><udp match='no' srcipaddr='$A'/></rule>"}, want: []string{"2 negated-list"}},
		"negated element of a list":    {rules: []string{"<rule action='drop' direction='inout'><udp match='no' srcipaddr='$A[0]'/></rule>"}},
		"accept for nothing":           {rules: []string{in + "<udp dstportstart='53'/></rule>"}, want: []string{"2 default-accept!"}},
		"accept after some drops":      {rules: []string{"<rule action='drop' direction='inout'><udp/></rule>", in + "<tcp dstportstart='22'/></rule>"}, want: []string{"3 default-accept"}},
		"drop one way":                 {rules: []string{"<rule action='drop' direction='in'><udp dstportstart='53'/></rule>"}, want: []string{"2 both-ways"}},
		"drop one way with a state":    {rules: []string{"<rule action='drop' direction='in'><udp dstportstart='53' state='NEW'/></rule>"}},
		"accept without states":        {rules: []string{"<rule action='accept' direction='in' statematch='false'><udp dstportstart='53'/></rule>", clean, dropAll}, want: []string{"2 both-ways", "4 icmp-errors"}},
		"end of a chain":               {rules: []string{"<filterref filter='no-ip-multicast'/>", "<rule action='drop' direction='inout' priority='999'/>"}, want: []string{"5 chain-end"}},
		"root behind the end":          {rules: []string{"<filterref filter='no-ip-multicast'/>", "<rule action='drop' direction='out' priority='999'><ip dstipaddr='10.0.0.1'/></rule>"}, want: []string{"3 unreachable!", "5 chain-end"}},
		"priorities of a chained rule": {chain: "ipv4", rules: []string{"<filterref filter='top2'/>", "<rule action='accept' direction='in' priority='-500'><udp dstportstart='53'/></rule>"}, want: []string{"3 default-accept", "3 network-order", "2 both-ways"}},
		"stp":                          {chain: "stp", rules: []string{"<rule action='drop' direction='in'/>"}, want: []string{"1 stp-priority"}},
		"a parameter that nothing uses": {rules: []string{"<filterref filter='no-arp-ip-spoofing'><parameter name='IPS' value='10.0.0.1'/></filterref>"},
			want: []string{"2 unused-parameter!"}},
		"MAC of a reference":           {rules: []string{"<filterref filter='no-mac-spoofing'><parameter name='MAC' value='52:54:00:00:00:01'/></filterref>"}, want: []string{"2 unused-parameter!"}},
		"a filter that is not defined": {rules: []string{"<filterref filter='nothing'/>"}, want: []string{"2 unbindable!"}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if row.chain == "" {
				row.chain = "root"
			}
			text := "<filter name='top' chain='" + row.chain + "'>\n" + strings.Join(row.rules, "\n") + "\n</filter>"
			findings := lintText(t, text, "<filter name='top2'>\n<rule action='drop' direction='in'><udp srcipaddr='10.0.0.1'/></rule></filter>")
			got := []string{}
			for _, f := range findings {
				if f.Kind == MissingVariable {
					continue
				}
				_, line, _ := strings.Cut(brief(f), ":")
				got = append(got, strings.Replace(line, " problem", "!", 1))
			}
			want := append([]string{}, row.want...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
				for _, f := range findings {
					t.Log(f)
				}
			}
		})
	}
}

// TestOverriddenParameter: the binding's value wins, which is worth knowing.
func TestOverriddenParameter(t *testing.T) {
	const text = `<filter name='top'>
<filterref filter='no-arp-ip-spoofing'><parameter name='IP' value='10.0.0.1'/></filterref>
</filter>`
	got := briefs(lintFor(t, []nwfilter.Parameter{{Name: "IP", Value: "10.0.0.2"}}, text))
	if diff := cmp.Diff([]string{"top:2 overridden-parameter"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := lintFor(t, nil, text); len(got) > 0 {
		t.Errorf("without parameters: %v", got)
	}
}

// TestParameters: with values a missing one is a problem, and a list is known.
func TestParameters(t *testing.T) {
	const text = `<filter name='top'>
<rule action='drop' direction='inout'><udp match='no' srcipaddr='$A'/></rule>
<rule action='drop' direction='inout'><udp srcipaddr='$B[2]'/></rule>
<rule action='drop' direction='inout'><udp srcipaddr='$C'/></rule>
</filter>`
	params := []nwfilter.Parameter{{Name: "A", Value: "10.0.0.1"}, {Name: "A", Value: "10.0.0.2"}, {Name: "B", Value: "10.0.0.1"}, {Name: "X", Value: "1"}}
	got := briefs(lintFor(t, params, text))
	want := []string{"top:1 unused-parameter", "top:2 negated-list problem", "top:3 missing-variable problem", "top:4 missing-variable problem"}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("no %q in %q", w, got)
		}
	}
}
