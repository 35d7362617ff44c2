package nwfilter_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
)

// TestFormat holds printed filters against what libvirt prints for the same
// definitions: indentation and quotes, the order of attributes, the forms of
// values, signs, references and variables.
func TestFormat(t *testing.T) {
	const head, tail = "<filter name='f' chain='root'>\n", "</filter>\n"
	rule := func(inside string) string {
		return head + "  <rule action='drop' direction='in' priority='500'>\n    " + inside + "\n  </rule>\n" + tail
	}
	in := func(inside string) string {
		return "<filter name='f'><rule action='drop' direction='in'>" + inside + "</rule></filter>"
	}
	for name, row := range map[string]struct{ text, want string }{
		"an empty filter":             {"<filter name='f'/>", head + tail},
		"a chain's default priority":  {"<filter name='f' chain='ipv4-x'/>", "<filter name='f' chain='ipv4-x' priority='-700'>\n" + tail},
		"a chain's own priority":      {"<filter priority=' +5' chain=\"arp\" name='f'/>", "<filter name='f' chain='arp' priority='5'>\n" + tail},
		"priority of root":            {"<filter name='f' chain='root' priority='7'/>", "<filter name='f' chain='root' priority='7'>\n" + tail},
		"priority 0 is not printed":   {"<filter name='f' chain='stp'/>", "<filter name='f' chain='stp'>\n" + tail},
		"priority without a chain":    {"<filter name='f' priority='7'/>", head + tail},
		"UUID first, in its one form": {"<filter name='f'><filterref filter='a'/><uuid> 0E0D0C0B0A09-08070605-04030201 FF00 </uuid></filter>", head + "  <uuid>0e0d0c0b-0a09-0807-0605-04030201ff00</uuid>\n  <filterref filter='a'/>\n" + tail},
		"the order of the document": {"<filter name='f'><rule action='accept' direction='out' priority='700'/><!-- no --><filterref filter='a'/><rule action='drop' direction='inout' priority='-5' statematch='FALSE'/></filter>",
			head + "  <rule action='accept' direction='out' priority='700'/>\n  <filterref filter='a'/>\n  <rule action='drop' direction='inout' priority='-5' statematch='false'/>\n" + tail},
		"statematch that says nothing": {"<filter name='f'><rule action='return' direction='out' statematch='true'/></filter>", head + "  <rule action='return' direction='out' priority='500'/>\n" + tail},
		"no attributes":                {in("<tcp/>"), rule("<tcp/>")},
		"no attributes, negated":       {in("<tcp match='no'/>"), rule("<tcp/>")},
		"the table's order":            {in("<tcp state='NEW' dstportstart='80' srcipmask='24' srcipaddr='10.0.0.1' comment='c' dscp='9'/>"), rule("<tcp srcipaddr='10.0.0.1' srcipmask='24' dscp='9' state='NEW' dstportstart='80' comment='c'/>")},
		"runs of one sign": {in("<tcp match='no' srcipaddr='10.0.0.1' srcipmask='24'/><tcp dscp='1'/><tcp match='no' state='NEW'/>"),
			rule("<tcp match='no' srcipaddr='10.0.0.1' srcipmask='24'/>\n    <tcp dscp='1'/>\n    <tcp match='no' state='NEW'/>")},
		"elements of one sign are one": {in("<udp srcipaddr='10.0.0.1'/><udp dstportstart='53'/>"), rule("<udp srcipaddr='10.0.0.1' dstportstart='53'/>")},
		"masks take their base's sign": {in("<mac match='no' srcmacaddr='1:2:3:4:5:6'/><mac srcmacmask='FF:FF:ff:0:0:0'/>"), rule("<mac match='no' srcmacaddr='01:02:03:04:05:06' srcmacmask='ff:ff:ff:00:00:00'/>")},
		"numbers in hexadecimal":       {in("<udp dscp='0X1f' srcportstart='0x50' srcportend='ffff'/>"), rule("<udp dscp='0x1f' srcportstart='0x50' srcportend='0xffff'/>")},
		"numbers in decimal":           {in("<udp dscp='010' srcportstart=' +80'/>"), rule("<udp dscp='10' srcportstart='80'/>")},
		"numbers of spanning tree":     {in("<stp root-cost='4294967295' port='0xA' port-hi='11'/>"), rule("<stp root-cost='4294967295' port='0xa' port-hi='11'/>")},
		"netmasks":                     {in("<all srcipaddr='010.0.0.1' srcipmask='255.255.0.0' dstipaddr='10.1' dstipmask='0'/>"), rule("<all srcipaddr='8.0.0.1' srcipmask='16' dstipaddr='10.0.0.1' dstipmask='0'/>")},
		"IPv6 addresses":               {in("<all-ipv6 srcipaddr='FD00:0:0:0:0:0:0:1' srcipmask='ffff:ffff::' dstipaddr='::ffff:1.2.3.4'/>"), rule("<all-ipv6 srcipaddr='fd00::1' srcipmask='32' dstipaddr='::ffff:1.2.3.4'/>")},
		"words":                        {in("<arp opcode='request' gratuitous='yes'/>"), rule("<arp opcode='Request' gratuitous='true'/>")},
		"states":                       {in("<tcp state='related,new'/>"), rule("<tcp state='NEW,RELATED'/>")},
		"flags":                        {in("<tcp flags='ack,syn/syn'/>"), rule("<tcp flags='SYN,ACK/SYN'/>")},
		"variables":                    {in("<tcp srcipaddr='$A[@0]' dstipaddr='$B[ 2 ]' srcportstart='$C[ @3 ]' dstportstart='$D'/>"), rule("<tcp srcipaddr='$A' dstipaddr='$B[2]' srcportstart='$C[@3]' dstportstart='$D'/>")},
		"comments are escaped":         {in(`<tcp comment='a &lt; b &amp; "c" &apos;d&apos; >'/>`), rule("<tcp comment='a &lt; b &amp; &quot;c&quot; &apos;d&apos; &gt;'/>")},
		"parameters by name": {"<filter name='f'><filterref filter='a'><parameter name='b' value='2'/><parameter name='A' value='9'/><parameter name='B' value='1'/><parameter name='A' value='1'/></filterref></filter>",
			head + "  <filterref filter='a'>\n    <parameter name='A' value='9'/>\n    <parameter name='A' value='1'/>\n    <parameter name='B' value='1'/>\n    <parameter name='b' value='2'/>\n  </filterref>\n" + tail},
	} {
		t.Run(name, func(t *testing.T) {
			f, faults := nwfilter.Parse([]byte(row.text), "f.xml", nwfilter.Options{Lenient: true})
			if f == nil {
				t.Fatal(faults)
			}
			if diff := cmp.Diff(row.want, nwfilter.Format(f)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			reparsed(t, f)
		})
	}
}
