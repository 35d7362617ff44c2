package gate

import (
	"slices"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		texts, want []string
		wrong       string
	}{
		{texts: []string{"vnet*"}, want: []string{"vnet*"}},
		{texts: []string{"vnet*", "tap*", "eth0.5"}, want: []string{"vnet*", "tap*", "eth0.5"}},
		{texts: []string{"tap1*", "tap10", "tap*", "tap"}, want: []string{"tap*"}},
		{texts: []string{"tap0", "tap0"}, want: []string{"tap0"}},
		{texts: []string{"abcdefghijklmno*"}, want: []string{"abcdefghijklmno*"}},
		{wrong: "no device pattern is given"},
		{texts: []string{""}, wrong: "it is empty"},
		{texts: []string{"*"}, wrong: "loopback and uplinks included"},
		{texts: []string{"lo"}, wrong: "loopback is no guest's device"},
		{texts: []string{"vnet*0"}, wrong: "may only stand at the end"},
		{texts: []string{"vnet**"}, wrong: "may only stand at the end"},
		{texts: []string{"vnet?"}, wrong: "no other wildcard"},
		{texts: []string{"vnet[0-9]"}, wrong: "no other wildcard"},
		{texts: []string{"abcdefghijklmnop"}, wrong: "more than 15 bytes"},
		{texts: []string{"a/b"}, wrong: "a slash"},
		{texts: []string{"a b*"}, wrong: "white space"},
		{texts: []string{"eth0:1"}, wrong: "a colon"},
		{texts: []string{".."}, wrong: "no device has that name"},
	} {
		patterns, err := parsePatterns(test.texts)
		if test.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%q: %v, want %q", test.texts, err, test.wrong)
			}
			continue
		}
		if got := (&Gate{patterns: patterns}).Patterns(); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, %v, want %q", test.texts, got, err, test.want)
		}
	}
}

func TestMatch(t *testing.T) {
	patterns, err := parsePatterns([]string{"vnet*", "tap7"})
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{patterns: patterns}
	for name, want := range map[string]bool{"vnet": true, "vnet12": true, "tap7": true, "tap70": false, "xvnet0": false, "vne": false} {
		if g.Match(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
