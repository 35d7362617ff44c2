package compat

import (
	"strings"

	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// ExplainAcceptance names the difference because of which filters are
// accepted that libvirt refuses at the stage; "" if there is none. p is the policy
// that they became.
func ExplainAcceptance(filters []*nwfilter.Filter, p *policy.Policy, stage string) string {
	if l := p.Learning; l != nil && l.Config.IPv6 && stage == "bind" {
		return "learning" // libvirt learns no IPv6 address
	}
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
