package agent

import (
	"net/netip"
	"strings"

	"tapgate/internal/learn"
)

// ParseAddress reads the address of a lease: one of IPv4 or IPv6, or an IPv6 prefix.
func ParseAddress(text string) (netip.Prefix, error) {
	var p netip.Prefix
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return p, notAnAddress(text)
		}
		p = prefix
	} else {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return p, notAnAddress(text)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return p, CheckAddress(p)
}

func notAnAddress(text string) error {
	return invalidLease("%.100q is no address of a guest: expected one such as 10.0.0.5 or 2001:db8::5, or an IPv6 prefix such as 2001:db8:1::/56", text)
}

// impossible are the addresses that no guest has as its own. Of IPv4 these are the
// ones that packets do not teach either.
var impossible = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "are addresses of no host in particular (RFC 1122 section 3.2.1.3)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "are loopback addresses"},
	{netip.MustParsePrefix("224.0.0.0/4"), "are multicast addresses"},
	{netip.MustParsePrefix("240.0.0.0/4"), "are reserved addresses (RFC 1112 section 4)"},
	{netip.MustParsePrefix("::/128"), "is the unspecified address"},
	{netip.MustParsePrefix("::1/128"), "is the loopback address"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "are IPv4 addresses; write them as such"},
	{netip.MustParsePrefix("ff00::/8"), "are multicast addresses"},
}

// CheckAddress says why a guest cannot have an address.
func CheckAddress(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return invalidLease("no address is given")
	case p != p.Masked():
		return invalidLease("%s has bits behind its prefix; expected %s, or an address without a prefix", p, p.Masked())
	case p.Addr().Is4() && !p.IsSingleIP():
		return invalidLease("%s is a network: of IPv4, a guest has single addresses", p)
	}
	for _, no := range impossible {
		if p.Overlaps(no.prefix) {
			return invalidLease("%s cannot be a guest's: %s %s", addressText(p), no.prefix, no.what)
		}
	}
	return nil
}

// addressText leaves out the length of a whole address.
func addressText(p netip.Prefix) string { return (&learn.Lease{Address: p}).Text() }
