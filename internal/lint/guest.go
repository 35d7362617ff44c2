package lint

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// guest stands for whatever will be bound: what is known of it, and
// placeholders for the rest.
type guest struct {
	mac        net.HardwareAddr
	parameters []nwfilter.Parameter
	// unknown are the variables with placeholders.
	unknown map[string]bool
	// missing are the uses of variables that nothing gives a value.
	missing []policy.MissingUse
	tree    *tree
}

const macVariable = "MAC"

func newGuest(in Input, t *tree) *guest {
	g := &guest{mac: in.MAC, parameters: in.Parameters, unknown: map[string]bool{}, tree: t}
	if g.mac == nil {
		g.mac = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
		g.unknown[macVariable] = !given(in.Parameters, macVariable)
	}
	_, err := policy.Resolve(in.Filter, g.mac, g.parameters, in.Lookup)
	var missing *policy.MissingError
	if errors.As(err, &missing) {
		g.missing = missing.Uses
	}
	for i, use := range g.missing {
		if name := use.Variable.Name; !g.unknown[name] && use.Count == 0 {
			g.unknown[name] = true
			g.fill(name, i)
		}
	}
	return g
}

func given(params []nwfilter.Parameter, name string) bool {
	for _, p := range params {
		if p.Name == name {
			return true
		}
	}
	return false
}

// resolve works the policy out with the placeholders.
func (g *guest) resolve(in Input) (*policy.Policy, error) {
	return policy.Resolve(in.Filter, g.mac, g.parameters, in.Lookup)
}

// fill gives a variable placeholders: as many as rules name, or as the lists
// have that it moves in step with. No two variables get equal ones.
func (g *guest) fill(name string, number int) {
	count := 1
	var proto *nwfilter.Protocol
	var spec *nwfilter.AttributeSpec
	for i := range g.tree.rules {
		r := &g.tree.rules[i]
		attributes := variables(r.Rule)
		for _, a := range attributes {
			v := a.Value.Variable
			if v.Name != name {
				continue
			}
			if spec == nil {
				proto, spec = r.Protocol, a.Spec
			}
			count = max(count, int(min(v.Index, 1000))+1)
			for _, b := range attributes {
				if w := b.Value.Variable; v.Index < 0 && w.Index < 0 && w.Iterator == v.Iterator {
					count = max(count, g.count(w.Name))
				}
			}
		}
	}
	for i := range count {
		g.parameters = append(g.parameters, nwfilter.Parameter{Name: name, Value: placeholder(proto, spec, number*count+i)})
	}
}

func (g *guest) count(name string) int {
	n := 0
	for _, p := range g.parameters {
		if p.Name == name {
			n++
		}
	}
	return n
}

// placeholder is a value that the attribute takes. What follows a base, such
// as the end of a range, gets values above those of the bases.
func placeholder(proto *nwfilter.Protocol, spec *nwfilter.AttributeSpec, n int) string {
	if spec == nil {
		return "0"
	}
	follows := spec.NeedsBase != "" || strings.HasSuffix(spec.Name, "end")
	group := 51
	if follows {
		group = 113
	}
	switch spec.Type {
	case nwfilter.MAC:
		return fmt.Sprintf("52:54:00:%02x:%02x:%02x", group, n>>8&0xff, n&0xff)
	case nwfilter.MACMask:
		return "ff:ff:ff:00:00:00"
	case nwfilter.IPv4:
		return fmt.Sprintf("198.%d.%d.%d", group, n>>8&0xff, n&0xff)
	case nwfilter.IPv6:
		return fmt.Sprintf("2001:db8:%x::%x", group, n&0xffff)
	case nwfilter.IPv4Mask:
		return "24"
	case nwfilter.IPv6Mask:
		return "64"
	case nwfilter.IPSetName:
		return fmt.Sprintf("placeholder%d", n)
	case nwfilter.IPSetFlags:
		return "src"
	}
	// Numbers: from the bottom, ends of ranges from the top. Some attributes
	// read them in hexadecimal.
	for i := range 1 << 16 {
		k := (n + i) & 0xffff
		if follows {
			k = 0xffff - k
		}
		for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%x", k)} {
			if _, err := spec.ParseVariableValue(proto, text); err == nil {
				return text
			}
		}
	}
	return "0"
}

// isUnknown tells whether a condition compares with a placeholder.
func (g *guest) isUnknown(c *policy.Clause) func(*policy.Condition) bool {
	return func(cond *policy.Condition) bool {
		for _, a := range c.Rule.Attributes {
			if v := a.Value.Variable; v == nil || !g.unknown[v.Name] || cond.Attribute == "" {
				continue
			}
			switch cond.Attribute {
			case a.Spec.Name, a.Spec.NeedsBase, a.Spec.SignOf:
				return true
			}
		}
		return false
	}
}
