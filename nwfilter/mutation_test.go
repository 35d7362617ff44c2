package nwfilter_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tapgate/nwfilter"
)

// nothingLost reads a document that was taken strictly once more, without the
// parser under test, and returns what the filter does not say although it is
// written, "" if everything arrived.
func nothingLost(src string, f *nwfilter.Filter) string {
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(src, "\ufeff")))
	entries := f.Entries
	var rule *nwfilter.Rule
	var parameters []nwfilter.Parameter
	attributes := 0
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			if len(entries) > 0 {
				return "entries that are not written"
			}
			return ""
		}
		start, ok := token.(xml.StartElement)
		if err != nil || !ok {
			if err != nil {
				return err.Error()
			}
			continue
		}
		start.Attr = slices.DeleteFunc(start.Attr, func(a xml.Attr) bool { return a.Name.Space == "xmlns" || a.Name.Local == "xmlns" })
		lost := ""
		switch start.Name.Local {
		case "filter":
			lost = filterSays(f, start.Attr)
		case "uuid":
		case "rule":
			if len(entries) == 0 || entries[0].Rule == nil {
				return "a rule"
			}
			rule, entries, attributes = entries[0].Rule, entries[1:], 0
			lost = ruleSays(rule, start.Attr)
		case "filterref":
			if len(entries) == 0 || entries[0].Reference == nil {
				return "a reference"
			}
			parameters, entries = entries[0].Reference.Parameters, entries[1:]
		case "parameter":
			if len(parameters) == 0 {
				return "a parameter"
			}
			for _, a := range start.Attr {
				if a.Value != parameters[0].Name && a.Value != parameters[0].Value {
					return "parameter " + a.Value
				}
			}
			parameters = parameters[1:]
		default:
			lost = elementSays(rule, start)
			for _, a := range start.Attr {
				if a.Name.Local != "match" {
					attributes++
				}
			}
			if lost == "" && attributes > len(rule.Attributes) {
				lost = "more attributes than the rule has"
			}
		}
		if lost != "" {
			return lost
		}
	}
}

func filterSays(f *nwfilter.Filter, attributes []xml.Attr) string {
	for _, a := range attributes {
		said := map[string]string{"name": f.Name, "chain": f.Chain, "priority": strconv.Itoa(f.ChainPriority)}[a.Name.Local]
		if number(a.Value) != number(said) {
			return a.Name.Local + " of filter"
		}
	}
	return ""
}

func ruleSays(r *nwfilter.Rule, attributes []xml.Attr) string {
	for _, a := range attributes {
		said := map[string]string{
			"action": r.Action.String(), "direction": r.Direction.String(), "priority": strconv.Itoa(r.Priority),
			"statematch": fmt.Sprint(r.StateMatch),
		}[a.Name.Local]
		value := map[string]string{"0": "false", "1": "true"}[a.Value]
		if a.Name.Local != "statematch" || value == "" {
			value = a.Value
		}
		if !strings.EqualFold(number(value), number(said)) {
			return a.Name.Local + " of rule"
		}
	}
	return ""
}

// number makes " +07" and "7" the same.
func number(text string) string {
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return strconv.Itoa(n)
	}
	return text
}

func elementSays(rule *nwfilter.Rule, e xml.StartElement) string {
	if rule == nil || rule.Protocol == nil || rule.Protocol.Name != e.Name.Local {
		return "element " + e.Name.Local
	}
	negated := slices.ContainsFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == "match" && a.Value == "no" })
	blank := strings.NewReplacer("\n", " ", "\t", " ", "\r", " ")
	for _, a := range e.Attr {
		if a.Name.Local == "match" {
			if a.Value != "yes" && a.Value != "no" {
				return "match"
			}
			continue
		}
		i := slices.IndexFunc(rule.Attributes, func(x nwfilter.Attribute) bool { return x.Spec.Name == a.Name.Local })
		if i < 0 {
			return "attribute " + a.Name.Local
		}
		got := rule.Attributes[i]
		want, err := got.Spec.ParseValue(blank.Replace(a.Value))
		if err != nil || want.Text != blank.Replace(got.Value.Text) || got.Negated != negated {
			return fmt.Sprintf("%s=%q", a.Name.Local, a.Value)
		}
	}
	return ""
}

const sample = `<filter name='sample' chain='ipv4-x' priority='-650'>
  <uuid>abcdef01-2345-6789-abcd-ef0123456789</uuid>
  <filterref filter='clean-traffic'>
    <parameter name='IP' value='10.0.0.1'/>
  </filterref>
  <rule action='accept' direction='in' priority='100' statematch='false'>
    <tcp match='no' srcipaddr='10.0.0.0' srcipmask='8' state='NEW,ESTABLISHED'/>
    <tcp dstportstart='21' dstportend='$END[@1]' flags='SYN,ACK/SYN' ipset='a' ipsetflags='src,dst'/>
  </rule>
  <rule action='drop' direction='inout'>
    <ip protocol='udp' match='yes' dstportstart='0x35' dscp='8' comment='text &amp; more'/>
  </rule>
  <rule action='return' direction='out'>
    <arp opcode='Request' arpsrcipaddr='$IP' gratuitous='true' srcmacaddr='52:54:00:00:00:01' srcmacmask='ff:ff:ff:00:00:00'/>
  </rule>
  <rule action='drop' direction='in'><icmpv6 type='128' code='0' srcipfrom='fe80::1' srcipto='fe80::ff'/></rule>
</filter>
`

// mutate applies one slip of the pen to a document.
func mutate(t *rapid.T, src string) string {
	at := rapid.IntRange(0, len(src)-1).Draw(t, "at")
	size := min(rapid.IntRange(1, 12).Draw(t, "size"), len(src)-at)
	part := src[at : at+size]
	switch rapid.SampledFrom([]string{"drop", "repeat", "letter", "swap", "move", "case", "digits"}).Draw(t, "slip") {
	case "drop":
		return src[:at] + src[at+size:]
	case "repeat":
		return src[:at+size] + src[at:]
	case "letter":
		c := rapid.SampledFrom([]byte("ax019 ='\"<>/&;$[]-_.:,%\n\x00")).Draw(t, "letter")
		return src[:at] + string(c) + src[at+1:]
	case "swap":
		if at+1 < len(src) {
			return src[:at] + string(src[at+1]) + string(src[at]) + src[at+2:]
		}
	case "move":
		rest := src[:at] + src[at+size:]
		to := rapid.IntRange(0, len(rest)).Draw(t, "to")
		return rest[:to] + part + rest[to:]
	case "case":
		return src[:at] + strings.ToUpper(part) + src[at+size:]
	case "digits":
		if i := strings.IndexAny(src[at:], "0123456789"); i >= 0 {
			return src[:at+i] + "99999" + src[at+i:]
		}
	}
	return src
}

// TestMutations checks that a slip is refused or taken for what it says, never
// overlooked.
func TestMutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := sample
		for range rapid.IntRange(1, 3).Draw(t, "slips") {
			src = mutate(t, src)
		}
		checkStrict(t, src)
	})
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

// checkStrict checks what must hold for any text at all.
func checkStrict(t failer, src string) {
	t.Helper()
	f, diagnostics := nwfilter.Parse([]byte(src), "mutated", nwfilter.Options{})
	if (f == nil) != (diagnostics.Err() != nil) {
		t.Fatalf("filter %v, diagnostics %v", f, diagnostics)
	}
	if f == nil {
		return
	}
	if len(diagnostics) > 0 {
		t.Fatalf("strict, but there are warnings: %v", diagnostics)
	}
	reparsed(t, f)
	if strings.Contains(src, "<!DOCTYPE") {
		return // the second reader knows no entities
	}
	if lost := nothingLost(src, f); lost != "" {
		t.Fatalf("silently lost: %s\n%s", lost, src)
	}
}

// TestRenamedAttributes drops each letter of each attribute's name in turn.
func TestRenamedAttributes(t *testing.T) {
	for _, p := range nwfilter.Protocols() {
		for _, s := range p.Attributes {
			for i := range s.Name {
				wrong := s.Name[:i] + s.Name[i+1:]
				src := ruleText(fmt.Sprintf("<%s %s='$X'/>", p.Name, wrong))
				f, diagnostics := nwfilter.Parse([]byte(src), "x", nwfilter.Options{})
				if f != nil {
					t.Errorf("<%s %s> was taken", p.Name, wrong)
				} else if hint := diagnostics[0].Hint; wrong != "" && hint == "" {
					t.Errorf("<%s %s>: no guess at %s", p.Name, wrong, s.Name)
				}
			}
		}
	}
}
