package ipset

import (
	"fmt"
	"strings"
)

// ParseSave reads sets from what "ipset save" writes: lines such as
// "create NAME hash:ip family inet" and "add NAME 10.0.0.1". file is for errors.
func ParseSave(text, file string) (Sets, error) {
	sets := Sets{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := sets.line(words); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return sets, nil
}

func (sets Sets) line(words []string) error {
	if len(words) < 3 || words[0] != "create" && words[0] != "add" {
		return fmt.Errorf("expected \"create NAME TYPE …\" or \"add NAME MEMBER …\", as ipset save writes them")
	}
	name := words[1]
	if words[0] == "add" {
		set := sets[name]
		if set == nil {
			return fmt.Errorf("there is no set %q before this line", name)
		}
		return set.Add(strings.Join(words[2:], " "))
	}
	if sets[name] != nil {
		return fmt.Errorf("the set %q is created twice", name)
	}
	family, netMask := uint8(4), 0
	for i, word := range words[3:] {
		value := ""
		if i+4 < len(words) {
			value = words[i+4]
		}
		switch {
		case word == "family" && value == "inet6":
			family = 6
		case word == "netmask":
			if _, err := fmt.Sscanf(value, "%d", &netMask); err != nil {
				return fmt.Errorf("the netmask %q is no length", value)
			}
		case word == "bitmask":
			return &UnsupportedError{fmt.Sprintf("the set %q has a bitmask, which is not supported", name)}
		}
	}
	set, err := New(name, words[2], family)
	if err != nil {
		return err
	}
	sets[name] = set
	return set.mask(netMask)
}

// fields are the words of a line; blanks within quotes do not part them.
func fields(line string) []string {
	quoted := false
	var words []string
	for _, part := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && strings.ContainsRune(" \t\r\n", r)
	}) {
		words = append(words, strings.Trim(part, `"`))
	}
	return words
}
