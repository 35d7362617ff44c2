package compat

import (
	"strings"

	"tapgate/nwfilter"
)

// ExplainAcceptance names the difference because of which filters are
// accepted that libvirt refuses at the stage; "" if there is none.
func ExplainAcceptance(filters []*nwfilter.Filter, stage string) string {
	for _, f := range filters {
		if stage != "define "+f.Name {
			continue
		}
		for _, e := range f.Entries {
			if e.Rule != nil && ipv6DestinationRange(e.Rule) {
				return "ipv6-destination-range"
			}
		}
	}
	return ""
}

// ipv6DestinationRange: libvirt wants an IPv4 address there.
func ipv6DestinationRange(r *nwfilter.Rule) bool {
	a := attribute(r, "dstipto")
	return a != nil && r.Protocol.Family == nwfilter.FamilyIPv6 && a.Value.Variable == nil && strings.Contains(a.Value.Text, ":")
}
