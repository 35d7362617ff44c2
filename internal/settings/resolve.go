package settings

import (
	"fmt"
	"strings"

	"tapgate/internal/conntrack"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// Given are values as they were written, by the name of the setting.
type Given map[string][]string

// Origin tells who gave a value.
type Origin string

// The origins.
const (
	ByDefault Origin = "default"
	ByHost    Origin = "host"
	ByPort    Origin = "port"
)

// Value is a setting's value at a port or on the host, and where it comes from.
type Value struct {
	Name string `json:"name"`
	// Value is a number, "yes", "no", "none", or ports with commas between.
	Value string `json:"value"`
	From  Origin `json:"from"`
}

// Values are those of all settings, in the order of All.
type Values []Value

// Resolve gives the values of a port: those among its binding's parameters,
// else the host's, else the defaults. Parameters that set nothing are left to
// the filters; one that looks as if it did is an error, which says where the
// parameter stands.
func Resolve(host Given, parameters []nwfilter.Parameter) (Values, error) {
	port := Given{}
	for _, p := range parameters {
		if !strings.HasPrefix(p.Name, prefix) || p.Name == policy.LearningParameter {
			continue
		}
		if Find(p.Name) == nil {
			return nil, at(p, unknownParameter(p.Name))
		}
		port[p.Name] = append(port[p.Name], p.Value)
	}
	for _, p := range parameters {
		if port[p.Name] == nil {
			continue
		}
		if _, err := Find(p.Name).parse(port[p.Name]); err != nil {
			return nil, at(p, err)
		}
	}
	values, err := merge(host, port)
	if err != nil {
		return nil, err
	}
	return values, values.Settings().checkServices()
}

// at puts the place of a parameter in front, if it has one.
func at(p nwfilter.Parameter, err error) error {
	if p.Pos.Line == 0 {
		return err
	}
	return fmt.Errorf("%s: %w", p.Pos, err)
}

func merge(host, port Given) (Values, error) {
	var values Values
	for i := range table {
		s := &table[i]
		texts, from := strings.Split(s.Default, ","), ByDefault
		if host[s.Name] != nil {
			texts, from = host[s.Name], ByHost
		}
		if port[s.Name] != nil {
			texts, from = port[s.Name], ByPort
		}
		v, err := s.parse(texts)
		if err != nil {
			return nil, err
		}
		values = append(values, Value{s.Name, s.text(v), from})
	}
	return values, nil
}

// checkServices tells what no setting can say by itself.
func (s Settings) checkServices() error {
	if n := len(s.Services); n > conntrack.MaxServices {
		return fmt.Errorf("the %s… settings name %d ports, those of TCP and UDP counted apart: at most %d are possible", helperPrefix, n, conntrack.MaxServices)
	}
	for i, one := range s.Services {
		for _, other := range s.Services[:i] {
			if one.Proto == other.Proto && one.Port == other.Port {
				return fmt.Errorf("%s%s and %s%s both name port %d: expected different ports, or none", helperPrefix, strings.ToUpper(other.Helper.String()),
					helperPrefix, strings.ToUpper(one.Helper.String()), one.Port)
			}
		}
	}
	return nil
}

// Defaults are the values of a port for which nothing is set.
func Defaults() Values {
	values, err := merge(nil, nil)
	if err != nil {
		panic("settings: " + err.Error()) // the table's own defaults
	}
	return values
}

// Whole adds the defaults of what is not among the values, as in those of
// another version, and leaves out what is no setting.
func (values Values) Whole() Values {
	whole := Defaults()
	for i := range whole {
		for _, v := range values {
			if v.Name == table[i].Name {
				whole[i] = v
			}
		}
	}
	return whole
}

// Settings gives the values the form in which they are used. What cannot be
// read has its default.
func (values Values) Settings() Settings {
	s := Settings{Timeouts: conntrack.DefaultTimeouts(), Services: []conntrack.Service{}}
	for i, one := range values.Whole() {
		v, err := table[i].parse(strings.Split(one.Value, ","))
		if err != nil {
			v, _ = table[i].parse(strings.Split(table[i].Default, ","))
		}
		table[i].apply(&s, v)
	}
	return s
}

// Set are the values that are not the default.
func (values Values) Set() Values {
	var set Values
	for _, v := range values {
		if v.From != ByDefault {
			set = append(set, v)
		}
	}
	return set
}
