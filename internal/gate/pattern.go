package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// maxPatterns is how many the kernel takes for one chain (NFT_NETDEVICE_MAX).
const maxPatterns = 256

// pattern names devices: one by its name, or all whose name begins with it.
type pattern struct {
	name   string
	prefix bool
}

func (p pattern) String() string {
	if p.prefix {
		return p.name + "*"
	}
	return p.name
}

// covers reports whether every device of other is one of p, too.
func (p pattern) covers(other pattern) bool {
	if p.prefix {
		return strings.HasPrefix(other.name, p.name)
	}
	return p == other
}

// CheckPattern tells what is wrong with a pattern that Open would refuse.
func CheckPattern(text string) error {
	_, err := parsePattern(text)
	return err
}

// parsePattern reads "vnet*" or "vnet0". Names are what dev_valid_name of net/core/dev.c allows.
func parsePattern(text string) (pattern, error) {
	name, prefix := strings.CutSuffix(text, "*")
	wrong := ""
	switch {
	case text == "":
		wrong = "it is empty; write a device's name, or the beginning of names followed by *, such as vnet*"
	case name == "":
		wrong = "it would shut every device, loopback and uplinks included; write the beginning of the names, such as vnet*"
	case strings.Contains(name, "*"):
		wrong = "a * may only stand at the end, since the kernel compares the beginning of names"
	case strings.ContainsAny(name, "?[]{}"):
		wrong = "only a * at the end is understood, no other wildcard; give several patterns instead"
	case len(name) >= unix.IFNAMSIZ:
		wrong = fmt.Sprintf("no device has a name of more than %d bytes", unix.IFNAMSIZ-1)
	case strings.ContainsAny(name, "/:") || strings.ContainsFunc(name, unicode.IsSpace) || strings.ContainsRune(name, 0):
		wrong = "no device's name has a slash, a colon or white space"
	case name == "lo":
		wrong = "loopback is no guest's device"
	case !prefix && (name == "." || name == ".."):
		wrong = "no device has that name"
	}
	if wrong != "" {
		return pattern{}, fmt.Errorf("device pattern %q: %s", text, wrong)
	}
	return pattern{name, prefix}, nil
}

// parsePatterns reads all and leaves out those that others cover: the kernel takes no two that match
// one device (EEXIST).
func parsePatterns(texts []string) ([]pattern, error) {
	var all []pattern
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		covered := func(by pattern) bool { return by.covers(p) }
		if slices.ContainsFunc(all, covered) {
			continue
		}
		all = append(slices.DeleteFunc(all, p.covers), p)
	}
	if len(all) == 0 {
		return nil, errors.New("no device pattern is given")
	}
	if len(all) > maxPatterns {
		return nil, fmt.Errorf("%d device patterns: the kernel takes %d at most", len(all), maxPatterns)
	}
	return all, nil
}
