package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"time"
)

// DNSMasqConfig says what a dnsmasq gives to the guests. What is not valid is not given.
type DNSMasqConfig struct {
	// From and To are the first and the last IPv4 address.
	From, To netip.Addr
	// From6 and To6 are the first and the last IPv6 address (DHCPv6's IA_NA).
	From6, To6 netip.Addr
	// Advertised is the prefix of which guests make their own addresses (RFC 4862).
	Advertised netip.Prefix
	// Lease is how long an address is given for; dnsmasq makes at least two minutes of it.
	Lease time.Duration
	// Options are more arguments.
	Options []string
}

// L4 ports of DHCP (RFC 2131 section 4.1, RFC 8415 section 7.2).
const (
	DHCPServerPort   = 67
	DHCPClientPort   = 68
	DHCPv6ServerPort = 547
	DHCPv6ClientPort = 546
)

// ServeDNSMasq starts a dnsmasq as DHCP server and router, and returns when it listens. It logs what
// it receives and sends. It does not ping an address before it gives it. Its files are in dir.
func (l *Lab) ServeDNSMasq(ctx context.Context, guest *Guest, dir string, config DNSMasqConfig) (*Program, error) {
	path, err := find("dnsmasq", "dnsmasq-base")
	if err != nil {
		return nil, err
	}
	args := []string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
		"--dhcp-leasefile=" + filepath.Join(dir, "dnsmasq.leases"), "--log-facility=-", "--log-dhcp",
		"--port=0", "--interface=" + GuestDevice, "--bind-interfaces", "--dhcp-authoritative", "--no-ping",
	}
	lease := fmt.Sprint(max(int(config.Lease.Seconds()), 120))
	if config.From.IsValid() {
		args = append(args, fmt.Sprintf("--dhcp-range=%s,%s,%s", config.From, config.To, lease))
	}
	if config.From6.IsValid() {
		args = append(args, fmt.Sprintf("--dhcp-range=%s,%s,64,%s", config.From6, config.To6, lease))
	}
	if config.Advertised.IsValid() {
		args = append(args, fmt.Sprintf("--dhcp-range=%s,ra-only,64,%s", config.Advertised.Addr(), lease))
	}
	if config.From6.IsValid() || config.Advertised.IsValid() {
		// Advertised lifetimes are three intervals at least, and that of an interval is ten minutes if nobody
		// says otherwise.
		args = append(args, "--enable-ra", "--ra-param="+GuestDevice+",10")
	}
	p, err := l.Run(guest, exec.Command(path, append(args, config.Options...)...))
	if err != nil {
		return nil, err
	}
	var waits []error
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if config.From.IsValid() {
		waits = append(waits, guest.Listening(ctx, "udp", DHCPServerPort))
	}
	if config.From6.IsValid() {
		waits = append(waits, guest.Listening(ctx, "udp", DHCPv6ServerPort))
	}
	if err := errors.Join(waits...); err != nil {
		p.Stop()
		return nil, fmt.Errorf("%w; it printed:\n%s", err, p.Output())
	}
	return p, nil
}
