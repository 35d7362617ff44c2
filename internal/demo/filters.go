package demo

import (
	"tapgate/examples"
	"tapgate/internal/lab"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

// filter is one of the example filters.
type filter struct {
	letter string
	// file is where the source is, seen from the project's root.
	file string
	text []byte
}

var (
	filterA = filter{"A", "examples/ftp-related.xml", examples.FTPRelated}
	filterB = filter{"B", "examples/ftp-states.xml", examples.FTPStates}
	filterC = filter{"C", "examples/ping-only.xml", examples.PingOnly}
)

// policy works the filter out for a guest.
func (f filter) policy(guest *lab.Guest) (*policy.Policy, error) {
	top, faults := nwfilter.Parse(f.text, f.file, nwfilter.Options{})
	if top == nil {
		return nil, faults.Err()
	}
	lookup := func(name string) *nwfilter.Filter {
		if name == top.Name {
			return top
		}
		return builtin.Get(name)
	}
	return policy.Resolve(top.Name, guest.MAC, []nwfilter.Parameter{{Name: "IP", Value: guest.IPv4.String()}}, lookup)
}
