package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"time"
)

// DelegationConfig says what ISC's dhcpd gives by DHCPv6: unlike dnsmasq also prefixes, and for any time.
type DelegationConfig struct {
	// From and To are the first and the last address (IA_NA); not valid for none.
	From, To netip.Addr
	// First and Last are the prefixes that are delegated (IA_PD), of the same length; not valid for none.
	First, Last netip.Prefix
	Lease       time.Duration
}

// ServeDelegation starts such a server, and returns when it listens. Its files are in dir.
func (l *Lab) ServeDelegation(ctx context.Context, guest *Guest, dir string, config DelegationConfig) (*Program, error) {
	path, err := find("dhcpd", "isc-dhcp-server")
	if err != nil {
		return nil, err
	}
	link := netip.PrefixFrom(guest.IPv6, 64).Masked()
	seconds := int(config.Lease.Seconds())
	text := fmt.Sprintf("default-lease-time %d;\nmax-lease-time %d;\npreferred-lifetime %d;\nsubnet6 %s {\n", seconds, seconds, (seconds+1)/2, link)
	if config.From.IsValid() {
		text += fmt.Sprintf("range6 %s %s;\n", config.From, config.To)
	}
	if config.First.IsValid() {
		text += fmt.Sprintf("prefix6 %s %s /%d;\n", config.First.Addr(), config.Last.Addr(), config.First.Bits())
	}
	conf, leases := filepath.Join(dir, "dhcpd.conf"), filepath.Join(dir, "dhcpd6.leases")
	for _, file := range [][2]string{{conf, text + "}\n"}, {leases, ""}} {
		if err := writeNew(file[0], file[1], 0o644); err != nil {
			return nil, fmt.Errorf("run dhcpd: %w", err)
		}
	}
	p, err := l.Run(guest, exec.Command(path, "-6", "-f", "-d", "-cf", conf, "-lf", leases, "-pf", filepath.Join(dir, "dhcpd.pid"), "--no-pid", GuestDevice))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := guest.Listening(ctx, "udp", DHCPv6ServerPort); err != nil {
		p.Stop()
		return nil, fmt.Errorf("%w; it printed:\n%s", err, p.Output())
	}
	return p, nil
}
