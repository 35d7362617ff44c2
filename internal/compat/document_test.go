package compat

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

// TestDocument compares COMPATIBILITY.md with the tables: whoever changes one
// has to change the other.
func TestDocument(t *testing.T) {
	src, err := os.ReadFile("../../COMPATIBILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(src)
	want := map[string]bool{}
	for _, d := range Differences() {
		want[d.ID] = true
		section := fmt.Sprintf("### `%s`: %s\n\n- libvirt: %s\n- Tapgate: %s\n- Why: %s\n", d.ID, d.Title, d.Libvirt, d.Tapgate, d.Why)
		if !strings.Contains(document, section) {
			t.Errorf("COMPATIBILITY.md lacks this section:\n%s", section)
		}
	}
	for _, a := range Acceptances() {
		want[a.ID] = true
		row := fmt.Sprintf("| `%s` | %s | %s |\n", a.ID, a.Libvirt, a.Tapgate)
		if !strings.Contains(document, row) {
			t.Errorf("COMPATIBILITY.md lacks this row:\n%s", row)
		}
	}
	ours, rest, _ := strings.Cut(document, "## Kept as libvirt has it\n")
	beyond(t, ours)
	for _, m := range regexp.MustCompile("(?m)^(?:### |\\| )`([a-z0-9-]+)`").FindAllStringSubmatch(rest, -1) {
		if !want[m[1]] {
			t.Errorf("COMPATIBILITY.md has %q, which is no difference", m[1])
		}
	}
}

// beyond compares the part on what libvirt does not have: rows begin with
// attributes of <ipv6> and <icmpv6>, or with a built-in filter.
func beyond(t *testing.T, part string) {
	for _, row := range regexp.MustCompile("(?m)^\\| `.*? \\|").FindAllString(part, -1) {
		for _, m := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(row, -1) {
			name := m[1]
			ipv6, icmpv6 := nwfilter.LookupProtocol("ipv6").Attribute(name), nwfilter.LookupProtocol("icmpv6").Attribute(name)
			if (ipv6 == nil || icmpv6 == nil) && builtin.Get(name) == nil {
				t.Errorf("COMPATIBILITY.md has %q, which is neither attribute nor filter", name)
			}
		}
	}
	for _, a := range nwfilter.LookupProtocol("icmpv6").Attributes {
		if strings.HasPrefix(a.Name, "nd") && !strings.Contains(part, "`"+a.Name+"`") {
			t.Errorf("COMPATIBILITY.md lacks the attribute %q", a.Name)
		}
	}
}
