package settings

import (
	"fmt"
	"strings"

	"tapgate/internal/suggest"
)

// Assignment is "NAME=VALUE[,VALUE…]" of a command line. Without values the
// setting goes back to its default.
type Assignment struct {
	Setting *Setting
	Values  []string
}

// ParseAssignment reads one; the name as FindShort takes it.
func ParseAssignment(text string) (a Assignment, err error) {
	name, values, ok := strings.Cut(text, "=")
	if !ok {
		return a, fmt.Errorf("%q sets nothing: expected NAME=VALUE", text)
	}
	if a.Setting, err = FindShort(name); err != nil || values == "" {
		return a, err
	}
	v, err := a.Setting.parse(strings.Split(values, ","))
	if err != nil {
		return a, err
	}
	a.Values = strings.Split(a.Setting.text(v), ",")
	return a, nil
}

// FindShort is the setting of a name in any case, with or without CTRL_.
func FindShort(name string) (*Setting, error) {
	full := strings.ToUpper(name)
	if s := Find(full); s != nil {
		return s, nil
	}
	if s := Find(prefix + full); s != nil {
		return s, nil
	}
	var known []string
	for i := range table {
		known = append(known, table[i].ShortName())
	}
	return nil, unknown(name, strings.TrimPrefix(full, prefix), known)
}

func unknownParameter(name string) error {
	var known []string
	for i := range table {
		known = append(known, table[i].Name)
	}
	return unknown(name, name, known)
}

// unknown is about a name that was written; what is near to it is found
// without what all names have in common.
func unknown(written, name string, known []string) error {
	hint := `"tapgate settings" lists them`
	near := suggest.Nearest(name, known)
	for _, one := range known {
		if strings.HasSuffix(one, "_"+strings.ToLower(name)) { // "udp" of timeout_udp
			near = one
		}
	}
	if near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("there is no setting %q; %s", written, hint)
}

// With gives a copy in which an assignment is carried out.
func (g Given) With(a Assignment) Given {
	with := Given{}
	for name, values := range g {
		with[name] = values
	}
	delete(with, a.Setting.Name)
	if len(a.Values) > 0 {
		with[a.Setting.Name] = a.Values
	}
	return with
}

// Format prints a line NAME=VALUE for each setting that is given, as
// ParseGiven reads them.
func (g Given) Format() []byte {
	var b strings.Builder
	for i := range table {
		if values := g[table[i].Name]; values != nil {
			fmt.Fprintf(&b, "%s=%s\n", table[i].Name, strings.Join(values, ","))
		}
	}
	return []byte(b.String())
}

// ParseGiven reads lines NAME=VALUE. Empty lines and such that begin with "#"
// say nothing. Errors begin with the place and the number of the line.
func ParseGiven(text []byte, place string) (Given, error) {
	g, number := Given{}, 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		a, err := ParseAssignment(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", place, number, err)
		}
		g = g.With(a)
	}
	return g, nil
}
