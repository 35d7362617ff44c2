package nwfilter_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tapgate/nwfilter"
)

// drawText draws a literal of the attribute.
func drawText(t *rapid.T, s *nwfilter.AttributeSpec) string {
	pick := func(words ...string) string { return rapid.SampledFrom(words).Draw(t, s.Name) }
	mac := func(n uint64) string {
		return fmt.Sprintf("%x:%x:%x:%x:%02X:%x", n>>40&255, n>>32&255, n>>24&255, n>>16&255, n>>8&255, n&255)
	}
	switch s.Type {
	case nwfilter.U8, nwfilter.U16, nwfilter.U16Decimal, nwfilter.U32:
		return drawNumber(t, s)
	case nwfilter.MAC:
		return mac(rapid.Uint64().Draw(t, s.Name))
	case nwfilter.MACMask:
		return mac(^uint64(0) << rapid.IntRange(0, 48).Draw(t, s.Name))
	case nwfilter.IPv4:
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, s.Name)
		return netip.AddrFrom4([4]byte(b)).String()
	case nwfilter.IPv6:
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 0, 1, 255}), 16, 16).Draw(t, s.Name)
		return netip.AddrFrom16([16]byte(b)).String()
	case nwfilter.IPv4Mask:
		return pick("0", "8", "32", "255.255.255.0", "128.0.0.0")
	case nwfilter.IPv6Mask:
		return pick("0", "64", "128", "ffff:ffff::", "::")
	case nwfilter.Bool:
		return pick("true", "yes", "1", "false", "no", "0")
	case nwfilter.States:
		return pick("NEW", "established,RELATED", "INVALID NEW", "NONE")
	case nwfilter.TCPFlags:
		return pick("SYN,ACK/SYN", "ALL/NONE", "fin/", "RST,URG,PSH/PSH")
	case nwfilter.IPSetName:
		return pick("s", "a b:c+d", "0.-_")
	case nwfilter.IPSetFlags:
		return pick("src", "dst,SRC", "src,src,src")
	}
	return rapid.StringOfN(rapid.RuneFrom([]rune("aé<>&'\"\n\t $")), 0, 20, 60).
		Filter(func(text string) bool { return !strings.HasPrefix(text, "$") }).Draw(t, s.Name)
}

func drawNumber(t *rapid.T, s *nwfilter.AttributeSpec) string {
	if len(s.Names) > 0 && rapid.Bool().Draw(t, "name") {
		return strings.ToUpper(rapid.SampledFrom(s.Names).Draw(t, s.Name).Name)
	}
	low, high := s.Min, s.Max
	if high == 0 {
		high = map[nwfilter.Type]uint64{nwfilter.U8: 1<<8 - 1, nwfilter.U16: 1<<16 - 1, nwfilter.U16Decimal: 1<<16 - 1, nwfilter.U32: 1<<32 - 1}[s.Type]
	}
	n := rapid.Uint64Range(low, high).Draw(t, s.Name)
	if s.Type != nwfilter.U16Decimal && rapid.Bool().Draw(t, "hexadecimal") {
		return fmt.Sprintf("0x%X", n)
	}
	return fmt.Sprint(n)
}

// drawElements draws the protocol elements of a rule that a strict parser
// takes: each condition with what it needs, and partners in one element.
func drawElements(t *rapid.T) string {
	p := rapid.SampledFrom(nwfilter.Protocols()).Draw(t, "protocol")
	parts := map[bool]string{}
	present := map[string]bool{}
	signs := map[string]bool{}
	add := func(s *nwfilter.AttributeSpec, negated bool) {
		text := drawText(t, s)
		if !s.NoVariable && s.Name != "protocol" && rapid.IntRange(0, 5).Draw(t, "variable") == 0 {
			text = rapid.SampledFrom([]string{"$IP", "$V[@1]", "$v_2[7]", "$V[@0]"}).Draw(t, "reference")
		}
		if s.Name == "protocol" {
			text = rapid.SampledFrom([]string{"tcp", "17", "0x21", "sctp"}).Draw(t, "with ports")
		}
		present[s.Name], signs[s.Name] = true, negated
		escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", "'", "&apos;", "\n", "&#10;", "\t", "&#9;").Replace(text)
		parts[negated] += fmt.Sprintf(" %s='%s'", s.Name, escaped)
	}
	for i := range p.Attributes {
		s := &p.Attributes[i]
		negated := rapid.Bool().Draw(t, "negated")
		if s.SignOf != "" {
			negated = signs[s.SignOf]
		}
		switch {
		case s.Name == "protocol":
			add(s, negated)
		case s.Name == "ipset" && rapid.Bool().Draw(t, "set"):
			add(s, negated)
			add(p.Attribute("ipsetflags"), negated)
		case s.Type == nwfilter.IPSetName || s.Type == nwfilter.IPSetFlags || s.OverriddenBy != "" && present[s.OverriddenBy]:
		case s.NeedsBase != "" && !present[s.NeedsBase]:
		case rapid.IntRange(0, 2).Draw(t, "present") == 0:
			add(s, negated)
		}
	}
	plain, negated := fmt.Sprintf("<%s%s/>", p.Name, parts[false]), fmt.Sprintf("<%s%s match='no'/>", p.Name, parts[true])
	if strings.Contains(plain, " protocol=") || rapid.Bool().Draw(t, "plain first") && !strings.Contains(negated, " protocol=") {
		return plain + negated
	}
	return negated + plain
}

func drawDocument(t *rapid.T) string {
	out := "<filter name='" + rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_.-]{0,8}`).Draw(t, "name") + "'"
	if chain := rapid.SampledFrom([]string{"", "root", "mac", "vlan-1", "stp.x", "arp_mac", "rarp", "ipv4-ip", "ipv6:a"}).Draw(t, "chain"); chain != "" {
		out += " chain='" + chain + "'"
		if rapid.Bool().Draw(t, "with priority") {
			out += fmt.Sprintf(" priority='%d'", rapid.IntRange(-1000, 1000).Draw(t, "chain priority"))
		}
	}
	out += ">"
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		if rapid.IntRange(0, 3).Draw(t, "reference") == 0 {
			out += "<filterref filter='other'>"
			for range rapid.IntRange(0, 3).Draw(t, "parameters") {
				out += fmt.Sprintf("<parameter name='%s' value='%s'/>", rapid.StringMatching(`[A-Ca-c_0-9]{1,2}`).Draw(t, "parameter"),
					rapid.StringMatching(`[a-z0-9_.:]{1,5}`).Draw(t, "value"))
			}
			out += "</filterref>"
			continue
		}
		action := rapid.SampledFrom([]string{"accept", "drop", "reject", "return"}).Draw(t, "action")
		direction := rapid.SampledFrom([]string{"in", "out", "inout"}).Draw(t, "direction")
		out += fmt.Sprintf("<rule action='%s' direction='%s' priority='%d'", action, direction, rapid.IntRange(-1000, 1000).Draw(t, "priority"))
		if rapid.Bool().Draw(t, "stateless") {
			out += " statematch='0'"
		}
		if rapid.IntRange(0, 5).Draw(t, "bare") == 0 {
			out += "/>"
			continue
		}
		out += ">" + drawElements(t) + "</rule>"
	}
	return out + "</filter>"
}

// TestRoundTrip prints and reads random filters of the whole language.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := drawDocument(t)
		f, diagnostics := nwfilter.Parse([]byte(src), "random", nwfilter.Options{})
		if f == nil {
			t.Fatalf("%v\n%s", diagnostics, src)
		}
		reparsed(t, f)
		again, diagnostics := nwfilter.Parse([]byte(nwfilter.Format(f)), "printed", nwfilter.Options{})
		if again == nil {
			t.Fatalf("the printed filter is not taken strictly: %v", diagnostics)
		}
	})
}
