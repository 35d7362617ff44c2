package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is what the texts of a setting say; only the member of its kind counts.
type value struct {
	number uint64
	yes    bool
	ports  []uint16
}

const (
	maxSeconds     = 365 * 24 * 3600
	maxConnections = 1_000_000
	maxPorts       = 8
	none           = "none"
)

// expected says what the values of a kind are.
func (k Kind) expected() string {
	switch k {
	case Seconds:
		return fmt.Sprintf("a number of seconds from 1 to %d", maxSeconds)
	case Count:
		return fmt.Sprintf("a number from 1 to %d", maxConnections)
	case YesNo:
		return "yes or no"
	}
	return fmt.Sprintf("up to %d ports from 1 to 65535, or none", maxPorts)
}

// parse reads the texts of a setting.
func (s *Setting) parse(texts []string) (v value, err error) {
	ok := false
	switch {
	case s.Kind == Ports:
		v.ports, ok = parsePorts(texts)
	case len(texts) != 1:
		return v, fmt.Errorf("%s has %d values: expected one, %s", s.Name, len(texts), s.Kind.expected())
	case s.Kind == YesNo:
		v.yes = strings.EqualFold(texts[0], "yes")
		ok = v.yes || strings.EqualFold(texts[0], "no")
	case s.Kind == Seconds:
		v.number, ok = parseNumber(texts[0], maxSeconds)
	default:
		v.number, ok = parseNumber(texts[0], maxConnections)
	}
	if !ok {
		return v, fmt.Errorf("%s cannot be %q: expected %s", s.Name, strings.Join(texts, ","), s.Kind.expected())
	}
	return v, nil
}

func parseNumber(text string, most uint64) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && n >= 1 && n <= most && text[0] != '0'
}

func parsePorts(texts []string) ([]uint16, bool) {
	if len(texts) == 1 && strings.EqualFold(texts[0], none) {
		return nil, true
	}
	var ports []uint16
	for _, text := range texts {
		n, ok := parseNumber(text, 65535)
		if !ok {
			return nil, false
		}
		if !slices.Contains(ports, uint16(n)) {
			ports = append(ports, uint16(n))
		}
	}
	return ports, len(ports) > 0 && len(ports) <= maxPorts
}

// text is how a value is shown, whatever it was written like.
func (s *Setting) text(v value) string {
	switch s.Kind {
	case YesNo:
		if v.yes {
			return "yes"
		}
		return "no"
	case Ports:
		if len(v.ports) == 0 {
			return none
		}
		var texts []string
		for _, port := range v.ports {
			texts = append(texts, strconv.Itoa(int(port)))
		}
		return strings.Join(texts, ",")
	}
	return strconv.FormatUint(v.number, 10)
}

// WithUnit adds the unit to a value that has one.
func (s *Setting) WithUnit(text string) string {
	if s.Kind == Seconds {
		return text + " s"
	}
	return text
}

func secondsText(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
