package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tapgate/internal/lab"
)

// TestFloodOfRequests lets one guest send 100,000 DHCP requests a second, or claims, while another gets its
// address and keeps it: the other does not notice, and the daemon has next to nothing to do.
func TestFloodOfRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("measures, which a race detector spoils")
	}
	const rate, limit = 100_000, 2 * time.Second
	for name, flood := range map[string]func(*lab.Guest) *lab.Flood{"requests": lab.DHCPFlood, "claims": lab.ARPFlood} {
		for _, mode := range []string{"dhcp", "any"} {
			if name == "claims" && mode == "any" {
				continue // the first one is taken, and that is that
			}
			t.Run(fmt.Sprint(name, ", mode ", mode), func(t *testing.T) {
				h := newBusyLearningHost(t)
				h.server("10.77.0.140", 4*time.Second)
				h.learn(h.Guest, "clean-traffic", "CTRL_IP_LEARNING="+mode)
				h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				reached := make(chan float64, 1)
				go func() {
					got, err := flood(h.Guest).Run(ctx, rate)
					if err != nil {
						t.Error(err)
					}
					reached <- got
				}()
				time.Sleep(200 * time.Millisecond)
				begin, spent := time.Now(), h.spent()
				p := h.ask(lab.DHCPClientConfig{Client: lab.Dhclient})
				address := h.gets(p, is("10.77.0.140"))
				took := time.Since(begin)
				h.reached(address)
				first := h.learned("client0", "10.77.0.140")["10.77.0.140"]
				h.eventually("the lease is renewed", func() bool {
					l := h.leases("client0")["10.77.0.140"]
					return l.Renewed.After(first.Renewed)
				})
				share := (h.spent() - spent).Seconds() / time.Since(begin).Seconds()
				stop()
				got := <-reached
				t.Logf("%.0f frames a second; the other guest had its address after %s; the daemon took %.1f %% of a processor", got, took, 100*share)
				if got < rate/2 {
					t.Logf("this machine cannot send %d a second", rate)
				}
				if took > limit {
					t.Errorf("the other guest had to wait for %s", took)
				}
				if share > 0.25 {
					t.Errorf("the flood keeps the daemon busy: %.0f %% of a processor", 100*share)
				}
				if leases := h.leases("guest0"); len(leases) > 0 {
					t.Errorf("the flood taught %+v", leases)
				}
				h.limited("guest0")
			})
		}
	}
}

// limited fails the test unless a port's statistics tell of what was not looked at.
func (h *learningHost) limited(port string) {
	h.Helper()
	command := h.command("stats", port, "--json")
	var out strings.Builder
	command.Stdout = &out
	h.must(h.Host.Do(command.Run))
	if !strings.Contains(out.String(), `"limited"`) {
		h.Errorf("the statistics of %s do not tell what was left out: %s", port, &out)
	}
}

// spent is the processor time that the daemon has taken, from /proc/PID/stat (proc(5)).
func (h *learningHost) spent() time.Duration {
	h.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.process.Process.Pid))
	h.must(err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(field, 10, 64)
		h.must(err)
		ticks += n
	}
	const ticksASecond = 100 // USER_HZ
	return time.Duration(ticks) * time.Second / ticksASecond
}
