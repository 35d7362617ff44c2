package compat

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
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
	for _, m := range regexp.MustCompile("(?m)^(?:### |\\| )`([a-z0-9-]+)`").FindAllStringSubmatch(document, -1) {
		if !want[m[1]] {
			t.Errorf("COMPATIBILITY.md has %q, which is no difference", m[1])
		}
	}
}
