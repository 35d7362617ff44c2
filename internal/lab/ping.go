package lab

import (
	"context"
	"fmt"
	"net/netip"

	probing "github.com/prometheus-community/pro-bing"
)

// Ping sends one ICMP or ICMPv6 echo request from the namespace and waits for the reply.
func Ping(ctx context.Context, from *Namespace, to netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	pinger := probing.New(to.String())
	pinger.SetPrivileged(true)
	pinger.Count = 1
	// The pinger opens its socket in the goroutine that runs it.
	err := from.Do(func() error { return pinger.RunWithContext(ctx) })
	if err != nil {
		return fmt.Errorf("ping %s: %w", to, err)
	}
	if pinger.Statistics().PacketsRecv == 0 {
		return fmt.Errorf("ping %s: %w", to, context.DeadlineExceeded)
	}
	return nil
}
