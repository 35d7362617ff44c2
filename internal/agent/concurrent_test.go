package agent

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"tapgate/internal/settings"
)

// TestManyAtOnce lets many change, ask and look at once; the race detector sees
// what they share, and all ends as it is wanted.
func TestManyAtOnce(t *testing.T) {
	k := newKit(t, &DaemonOptions{Default: &DefaultFilter{Filter: "f0", Patterns: []string{"tap*"}}})
	ports := []string{"vnet0", "vnet1", "tap0", "tap1"}
	for i := range 3 {
		k.mustDefine(filterDoc(fmt.Sprintf("f%d", i), rule("<tcp/>")))
	}
	for _, port := range ports {
		k.host.add(port)
	}
	set, err := settings.ParseAssignment("timeout_udp=60")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 30 {
				port, filter := ports[rand.N(len(ports))], fmt.Sprintf("f%d", rand.N(3))
				switch rand.N(9) {
				case 0:
					_, _ = k.define(filterDoc(filter, rule(fmt.Sprintf("<tcp dstportstart='%d'/>", 1+rand.N(9)))))
				case 1:
					_, _ = k.bindTo(port, filter)
				case 2:
					_ = k.Unbind(ctx, alice, port)
				case 3:
					_, _ = k.BindAgain(ctx, alice, port)
				case 4:
					_, _ = k.Set(ctx, alice, "", []settings.Assignment{set})
				case 5:
					k.look(rand.N(2) == 0)
				case 6:
					_, _, _ = k.Ports(ctx)
				case 7:
					k.Status(ctx)
				case 8:
					_, _ = k.Rollback(ctx, alice, filter, "", false)
				}
			}
		})
	}
	group.Wait()
	k.look(true)
	k.quiet()
	if faults := k.Status(ctx).Daemon.Faults; len(faults) > 0 {
		t.Errorf("faults %q", faults)
	}
}
