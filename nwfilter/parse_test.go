package nwfilter_test

import (
	"fmt"
	"strings"
	"testing"

	"tapgate/nwfilter"
)

// ruleText puts protocol elements into a whole document.
func ruleText(elements string) string {
	return "<filter name='x'><rule action='drop' direction='in'>" + elements + "</rule></filter>"
}

// printed is the protocol elements of a parsed rule as the formatter writes
// them, or the first error.
func printed(elements string, lenient bool) string {
	f, diagnostics := nwfilter.Parse([]byte(ruleText(elements)), "x", nwfilter.Options{Lenient: lenient})
	if f == nil {
		return "error: " + diagnostics.Errors()[0].Message
	}
	text := nwfilter.Format(f)
	_, text, _ = strings.Cut(text, "priority='500'")
	text, _, _ = strings.Cut(text, "  </rule>")
	text, _, _ = strings.Cut(text, "</filter>")
	return strings.ReplaceAll(strings.Trim(strings.TrimPrefix(text, ">"), "\n "), "\n    ", "")
}

func TestSigns(t *testing.T) {
	for _, c := range []struct{ name, elements, want string }{
		{"ports alone keep their sign", `<tcp match='no' dstportstart='80'/>`, `<tcp match='no' dstportstart='80'/>`},
		{"ports have their own sign", `<tcp srcportstart='1'/><tcp match='no' dstportstart='80' dstportend='90'/>`,
			`<tcp srcportstart='1'/><tcp match='no' dstportstart='80' dstportend='90'/>`},
		{"a range's end follows its start", `<udp srcportstart='1'/><udp match='no' srcportend='9'/>`, `<udp srcportstart='1' srcportend='9'/>`},
		{"a mask follows its address", `<ip match='no' srcipaddr='10.0.0.0'/><ip srcipmask='8'/>`, `<ip match='no' srcipaddr='10.0.0.0' srcipmask='8'/>`},
		{"an ARP mask follows its address", `<arp match='no' arpsrcipaddr='10.0.0.0'/><arp arpsrcipmask='8'/>`, `<arp match='no' arpsrcipaddr='10.0.0.0' arpsrcipmask='8'/>`},
		{"the code follows the type", `<icmp match='no' type='3'/><icmp code='1'/>`, `<icmp match='no' type='3' code='1'/>`},
		{"a code without type has no sign", `<icmp match='no' code='8'/>`, `<icmp code='8'/>`},
		{"the state's sign counts", `<tcp match='no' state='NEW'/>`, `<tcp match='no' state='NEW'/>`},
		{"the set's flags follow the set", `<all match='no' ipset='s'/><all ipsetflags='src'/>`, `<all match='no' ipset='s' ipsetflags='src'/>`},
		{"runs share an element", `<ip match='no' srcipaddr='10.0.0.1'/><ip match='yes' protocol='udp'/>`, `<ip match='no' srcipaddr='10.0.0.1'/><ip protocol='udp'/>`},
		{"only the exact no negates", `<ip match='NO' srcipaddr='10.0.0.1'/>`, `<ip srcipaddr='10.0.0.1'/>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := printed(c.elements, true); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestMerging(t *testing.T) {
	for _, c := range []struct{ name, elements, want string }{
		{"table order", `<tcp flags='SYN/SYN' dstportstart='80' srcipaddr='10.0.0.1'/>`, `<tcp srcipaddr='10.0.0.1' dstportstart='80' flags='SYN/SYN'/>`},
		{"the later value wins", `<tcp dscp='1'/><tcp dscp='2'/>`, `<tcp dscp='2'/>`},
		{"states add up", `<tcp state='NEW'/><tcp state='RELATED'/>`, `<tcp state='NEW,RELATED'/>`},
		{"NONE swallows the others", `<tcp state='NEW'/><tcp state='NONE'/>`, `<tcp state='NONE'/>`},
		{"a second protocol is ignored", `<foo/><ip protocol='udp'/><tcp dstportstart='80'/>`, `<ip protocol='udp'/>`},
		{"no known protocol", `<TCP/>`, `/>`},
		{"no attributes", `<tcp/>`, `<tcp/>`},
		{"a set on any protocol", `<udp ipset='s' ipsetflags='DST,src'/>`, `<udp ipset='s' ipsetflags='dst,src'/>`},
		{"IPv6 destination range", `<udp-ipv6 dstipfrom='fd77::10' dstipto='fd77::20'/>`, `<udp-ipv6 dstipfrom='fd77::10' dstipto='fd77::20'/>`},
		{"prefixes do not count", `<n:tcp xmlns:n='urn:x' n:dstportstart='80'/>`, `<tcp dstportstart='80'/>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := printed(c.elements, true); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPortsNeedProtocol(t *testing.T) {
	const refused = "error: dstportstart of <ip> needs a protocol that has ports"
	for _, c := range []struct {
		elements string
		taken    bool
	}{
		{`<ip protocol='tcp' dstportstart='80'/>`, true},
		{`<ip protocol='33' dstportstart='80'/>`, true},
		{`<ip protocol='sctp'/><ip dstportstart='80'/>`, true},
		{`<ip protocol='tcp'/><ip match='no' dstportstart='$PORT'/>`, true},
		{`<ip dstportstart='80'/>`, false},
		{`<ip dstportstart='$PORT'/>`, false},
		{`<ip dstportstart='80'/><ip protocol='tcp'/>`, false},
		{`<ip protocol='udplite' dstportstart='80'/>`, false},
		{`<ip protocol='$P' dstportstart='80'/>`, false},
		{`<ip protocol='tcp' dstportstart='80'/><ip protocol='icmp'/>`, false},
	} {
		for _, lenient := range []bool{true, false} {
			got := printed(c.elements, lenient)
			if strings.HasPrefix(got, refused) == c.taken {
				// Strict, the repeated protocol is an error before.
				if !c.taken && !lenient && strings.HasPrefix(got, "error:") {
					continue
				}
				t.Errorf("%s (lenient %v): %s", c.elements, lenient, got)
			}
		}
	}
}

func TestFilterAttributes(t *testing.T) {
	for _, c := range []struct {
		attributes string
		chain      string
		priority   int
		head       string // as printed
	}{
		{"", "root", 0, "<filter name='x' chain='root'>"},
		{"chain='root'", "root", 0, "<filter name='x' chain='root'>"},
		{"chain='root' priority='5'", "root", 5, "<filter name='x' chain='root' priority='5'>"},
		{"chain='ipv4'", "ipv4", -700, "<filter name='x' chain='ipv4' priority='-700'>"},
		{"chain='ipv4-ip' priority=' +10'", "ipv4-ip", 10, "<filter name='x' chain='ipv4-ip' priority='10'>"},
		{"chain='arp' priority='0'", "arp", 0, "<filter name='x' chain='arp' priority='0'>"},
		{"chain='stp'", "stp", 0, "<filter name='x' chain='stp'>"},
		{"chain='mac' priority='-1000'", "mac", -1000, "<filter name='x' chain='mac' priority='-1000'>"},
	} {
		src := fmt.Sprintf("<filter name='x' %s/>", c.attributes)
		f, diagnostics := nwfilter.Parse([]byte(src), "x", nwfilter.Options{})
		if f == nil {
			t.Errorf("%s: %v", src, diagnostics)
			continue
		}
		head, _, _ := strings.Cut(nwfilter.Format(f), "\n")
		if f.Chain != c.chain || f.ChainPriority != c.priority || head != c.head {
			t.Errorf("%s: chain %s, priority %d, printed %s", src, f.Chain, f.ChainPriority, head)
		}
		reparsed(t, f)
	}
}

func TestDocument(t *testing.T) {
	const src = `<?xml version="1.0" encoding="UTF-8"?>
<!-- written by hand -->
<!DOCTYPE filter [
  <!ENTITY port "80">
  <!-- <!ENTITY port "81"> -->
  <!ENTITY both "&port;80 &#38;lt;">
]>
<filter name="web" chain='root'>
  <uuid> AB CDEF01-2345-6789abcd-ef0123456789 </uuid>
  <filterref filter='clean-traffic'>
    <parameter name='b' value='1'/>
    <parameter name='A' value='2'/>
    <parameter name='b' value='0'/>
  </filterref>
  <rule action='accept' direction='in' priority='-5' statematch='FALSE'>
    <tcp dstportstart='&port;' comment="&both; it's&#10;new
line"/>
  </rule>
  <rule action="drop" direction="inout"/>
</filter>
<?pi after?>
`
	const want = `<filter name='web' chain='root'>
  <uuid>abcdef01-2345-6789-abcd-ef0123456789</uuid>
  <filterref filter='clean-traffic'>
    <parameter name='A' value='2'/>
    <parameter name='b' value='1'/>
    <parameter name='b' value='0'/>
  </filterref>
  <rule action='accept' direction='in' priority='-5' statematch='false'>
    <tcp dstportstart='80' comment='8080 &lt; it&apos;s&#10;new line'/>
  </rule>
  <rule action='drop' direction='inout' priority='500'/>
</filter>
`
	f, diagnostics := nwfilter.Parse([]byte(src), "web.xml", nwfilter.Options{})
	if f == nil {
		t.Fatal(diagnostics)
	}
	if got := nwfilter.Format(f); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	reparsed(t, f)
	rule := f.Entries[1].Rule
	if got, want := rule.Attributes[0].Pos.String(), "web.xml:16:10"; got != want {
		t.Errorf("attribute at %s, want %s", got, want)
	}
	if got, want := f.Entries[0].Reference.Parameters[2].Pos.String(), "web.xml:13:5"; got != want {
		t.Errorf("parameter at %s, want %s", got, want)
	}
}

func TestEqual(t *testing.T) {
	parse := func(src string) *nwfilter.Filter {
		f, diagnostics := nwfilter.Parse([]byte(src), "x", nwfilter.Options{})
		if f == nil {
			t.Fatal(diagnostics)
		}
		return f
	}
	a := parse(ruleText(`<tcp dstportstart='80' srcipmask='255.0.0.0' srcipaddr='10.0.0.0'/>`))
	if !nwfilter.Equal(a, parse(ruleText(`<tcp srcipaddr='10.0.0.0' srcipmask='8'/> <tcp dstportstart='80'/>`))) {
		t.Error("filters that are printed alike are not equal")
	}
	if nwfilter.Equal(a, parse(ruleText(`<tcp srcipaddr='10.0.0.0' srcipmask='8' dstportstart='81'/>`))) {
		t.Error("filters with different ports are equal")
	}
}

// TestManyFaults checks that the list of faults is bounded, and that an error
// behind many warnings still counts.
func TestManyFaults(t *testing.T) {
	src := "<filter name='x'>" + strings.Repeat("<nothing/>", 5000) + "<rule/></filter>"
	f, diagnostics := nwfilter.Parse([]byte(src), "x", nwfilter.Options{Lenient: true})
	if f != nil || len(diagnostics.Errors()) == 0 {
		t.Error("the error behind the warnings is lost")
	}
	if n := len(diagnostics); n > 110 {
		t.Errorf("%d diagnostics", n)
	}
	if last := diagnostics[len(diagnostics)-1].Message; last != "4900 more faults are not listed" {
		t.Errorf("last message %q", last)
	}
}

func TestTooLarge(t *testing.T) {
	src := make([]byte, 4<<20+1)
	_, diagnostics := nwfilter.Parse(src, "big.xml", nwfilter.Options{})
	if got, want := diagnostics.Error(), "big.xml: the document is longer than 4194304 bytes, of which no more are read"; got != want {
		t.Errorf("got %q", got)
	}
}
