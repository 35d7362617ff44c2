package binding_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

const document = `<filterbinding>
  <owner>
    <name>vm1 &amp; more</name>
    <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>
  </owner>
  <portdev name='vnet0'/>
  <linkdev name='eth0'/>
  <mac address='52:54:00:00:00:01'/>
  <filterref filter='clean-traffic'>
    <parameter name='IP' value='10.0.0.5'/>
    <parameter name='IP' value='10.0.0.4'/>
  </filterref>
</filterbinding>
`

const domain = `<domain type='kvm' id='3'>
  <name>vm1</name>
  <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>
  <metadata><app:data xmlns:app='urn:app'>anything</app:data></metadata>
  <devices>
    <disk type='file'/>
    <interface type='bridge'>
      <mac address='52:54:0:0:0:1'/>
      <source bridge='br0'/>
      <target dev='vnet0'/>
      <model type='virtio'/>
      <filterref filter='clean-traffic'>
        <parameter name='IP' value='10.0.0.5'/>
      </filterref>
    </interface>
    <interface type='network'>
      <mac address='52:54:00:00:00:02'/>
      <source network='default'/>
    </interface>
    <interface type='direct'>
      <mac address='52:54:00:00:00:03'/>
      <source dev='eth1' mode='bridge'/>
      <target dev='macvtap0'/>
      <filterref filter='no-mac-spoofing'/>
    </interface>
  </devices>
</domain>
`

func take(t *testing.T, src string) []binding.Binding {
	t.Helper()
	bindings, diagnostics := binding.Parse([]byte(src), "b.xml", nwfilter.Options{})
	if len(diagnostics) > 0 {
		t.Fatal(diagnostics)
	}
	return bindings
}

func mac(last byte) []byte { return []byte{0x52, 0x54, 0, 0, 0, last} }

var withoutPositions = cmpopts.IgnoreTypes(nwfilter.Position{})

func TestFilterBinding(t *testing.T) {
	want := []binding.Binding{{
		Port: "vnet0", LinkDevice: "eth0", MAC: mac(1), Filter: "clean-traffic",
		Parameters: []nwfilter.Parameter{{Name: "IP", Value: "10.0.0.5"}, {Name: "IP", Value: "10.0.0.4"}},
		OwnerName:  "vm1 & more", OwnerUUID: "d54df46f-1ab5-4a22-8618-4560ef5fac2c",
	}}
	got := take(t, document)
	if diff := cmp.Diff(want, got, withoutPositions); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if printed := binding.Format(&got[0]); printed != document {
		t.Errorf("printed\n%s", printed)
	}
	if got, want := got[0].Parameters[1].Pos.String(), "b.xml:11:5"; got != want {
		t.Errorf("parameter at %s, want %s", got, want)
	}
}

func TestDomain(t *testing.T) {
	const owner, uuid = "vm1", "d54df46f-1ab5-4a22-8618-4560ef5fac2c"
	want := []binding.Binding{
		{Port: "vnet0", MAC: mac(1), Filter: "clean-traffic", OwnerName: owner, OwnerUUID: uuid,
			Parameters: []nwfilter.Parameter{{Name: "IP", Value: "10.0.0.5"}}},
		{Port: "macvtap0", LinkDevice: "eth1", MAC: mac(3), Filter: "no-mac-spoofing", OwnerName: owner, OwnerUUID: uuid},
	}
	got := take(t, domain)
	if diff := cmp.Diff(want, got, withoutPositions); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if got, want := got[0].Pos.String(), "b.xml:7:5"; got != want {
		t.Errorf("interface at %s, want %s", got, want)
	}
}

func TestInterface(t *testing.T) {
	got := take(t, `<interface type='ethernet'><mac address='52:54:00:00:00:09'/><target dev='tap3' managed='no'/><filterref filter='f'/></interface>`)
	want := []binding.Binding{{Port: "tap3", MAC: mac(9), Filter: "f"}}
	if diff := cmp.Diff(want, got, withoutPositions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFaults(t *testing.T) {
	replaced := func(old, new string) string {
		if !strings.Contains(document, old) {
			t.Fatalf("%q is not in the document", old)
		}
		return strings.Replace(document, old, new, 1)
	}
	for _, c := range []struct {
		src, want string
		taken     bool // leniently
	}{
		{"<filter/>", "b.xml:1:1: a binding is a <filterbinding>, an <interface> or a <domain>, not a <filter>", false},
		{"", "b.xml:1:1: the document is empty", false},
		{replaced("  <portdev name='vnet0'/>\n", ""), "b.xml:1:1: <filterbinding> has no <portdev>", false},
		{replaced("name='vnet0'", ""), `b.xml:6:3: <portdev> needs the attribute "name"`, false},
		{replaced("name='vnet0'", "name=''"), `b.xml:6:12: <portdev> needs the attribute "name"`, false},
		{replaced("vnet0", "../x"), `b.xml:6:12: "../x" cannot be the name of a network device`, true},
		{replaced("vnet0", "sixteen-letters!"), `b.xml:6:12: the device name "sixteen-letters!" is longer than the 15 bytes that Linux allows`, true},
		{replaced(" name='eth0'", ""), `b.xml:7:3: <linkdev> needs the attribute "name"`, false},
		{replaced("vm1 &amp; more", ""), "b.xml:3:5: the owner's <name> is empty", false},
		{replaced("d54df46f", "d54df46"), `b.xml:4:5: <uuid> cannot be "d54df46-1ab5-4a22-8618-4560ef5fac2c": expected 32 hexadecimal digits`, false},
		{replaced("52:54:00:00:00:01", "52-54-00-00-00-01"), `b.xml:8:8: address of <mac> cannot be "52-54-00-00-00-01": expected a MAC address such as 52:54:00:12:34:56`, false},
		{replaced("52:54:00:00:00:01", "$MAC"), `b.xml:8:8: address of <mac> cannot be "$MAC": expected a MAC address such as 52:54:00:12:34:56`, false},
		{replaced("52:54:00:00:00:01", "53:54:00:00:00:01"), "b.xml:8:8: 53:54:00:00:00:01 is a multicast address, which no guest can have", true},
		{replaced("52:54:00:00:00:01", "52:54:00:00:00:01 x"), `b.xml:8:8: what follows the address in "52:54:00:00:00:01 x" is ignored`, true},
		{replaced("filter='clean-traffic'", ""), `b.xml:9:3: <filterref> needs the attribute "filter", the name of the filter`, false},
		{replaced("10.0.0.5", "10.0.0.0/8"), `b.xml:10:26: value of <parameter> cannot be "10.0.0.0/8": expected letters, digits, "_", "." and ":"; a list is written by repeating the parameter`, true},
		{replaced("  <portdev", "  <port/>\n  <portdev"), `b.xml:6:3: <filterbinding> has no element <port>; did you mean "portdev"?`, true},
		{replaced("  <portdev", "  <portdev name='a'/>\n  <portdev"), "b.xml:7:3: <portdev> stands twice in <filterbinding>; only the first counts", true},
		{`<interface type='bridge'><mac address='52:54:00:00:00:01'/></interface>`, "b.xml:1:1: <interface> has no <filterref>", false},
		{"<interface>\n<filterref filter='f'/><target dev='t'/></interface>", "b.xml:1:1: <interface> has no <mac>", false},
		{"<domain><devices>\n <interface type='bridge'><mac address='52:54:00:00:00:01'/><filterref filter='f'/></interface></devices></domain>",
			"b.xml:2:2: <interface> has no <target>; libvirt chooses the device when the guest starts: take the XML of the running guest, as virsh dumpxml prints it", false},
		{strings.Replace(domain, "macvtap0", "vnet0", 1), `b.xml:20:5: the device "vnet0" is also that of the interface in line 7`, false},
	} {
		_, diagnostics := binding.Parse([]byte(c.src), "b.xml", nwfilter.Options{})
		if got := diagnostics.Error(); got != c.want {
			t.Errorf("strict:\n got %s\nwant %s", got, c.want)
		}
		bindings, diagnostics := binding.Parse([]byte(c.src), "b.xml", nwfilter.Options{Lenient: true})
		if (len(bindings) > 0) != c.taken || (diagnostics.Err() == nil) != c.taken {
			t.Errorf("lenient: %d bindings, %v", len(bindings), diagnostics)
		}
	}
}

// FuzzParse feeds arbitrary text: no panic, and what is taken strictly prints
// as the same binding.
func FuzzParse(f *testing.F) {
	f.Add([]byte(document))
	f.Add([]byte(domain))
	f.Fuzz(func(t *testing.T, src []byte) {
		binding.Parse(src, "fuzz", nwfilter.Options{Lenient: true})
		bindings, diagnostics := binding.Parse(src, "fuzz", nwfilter.Options{})
		if diagnostics.Err() != nil && bindings != nil {
			t.Fatalf("bindings in spite of %v", diagnostics)
		}
		for _, b := range bindings {
			if b.OwnerName == "" || b.OwnerUUID == "" {
				continue // a domain that is being written; a <filterbinding> needs both
			}
			text := binding.Format(&b)
			again, diagnostics := binding.Parse([]byte(text), "printed", nwfilter.Options{})
			if diagnostics.Err() != nil || len(again) != 1 {
				t.Fatalf("printed binding: %v\n%s", diagnostics, text)
			}
			b.Parameters = nwfilter.SortedParameters(b.Parameters)
			if diff := cmp.Diff(b, again[0], withoutPositions, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-first +second):\n%s\n%s", diff, text)
			}
		}
	})
}
