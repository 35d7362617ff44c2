// Command bench measures what guarding a port costs: datagrams a second from a
// guest through a bridge to its neighbour, without a filter and with each of
// the examples. It needs root.
//
//	go run ./bench
//	go run ./bench -time 10s -filter ../my-filter.xml
//	go run ./bench -connections 1000000
//	go run ./bench -flood
//	go run ./bench -ports 1000
//
// What is counted are the datagrams that reach the neighbour's NIC, so a slow
// sender shows in every line; compare the ratios. The filters' parameter IP is
// the guest's address.
//
// With -connections it measures instead what so many connections over 100 ports
// cost: time, memory, and packets of established ones; and how they expire.
// With -flood it measures how 100 clients fare while a port's quota is full.
// With -ports it measures how long so many ports with one filter take to be bound,
// changed, adopted and guarded as after a restart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tapgate/examples"
	"tapgate/internal/datapath"
	"tapgate/internal/lab"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// subject is what is measured: a filter, or none.
type subject struct {
	name string
	xml  []byte
	// rates and bound are what came out of each round: packets a second, and
	// seconds until the filter was in force.
	rates, bound []float64
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	duration := flags.Duration("time", 2*time.Second, "how long each filter is measured in a round")
	rounds := flags.Int("rounds", 3, "how often; the table shows medians")
	clsact := flags.Bool("clsact", false, "attach by clsact, as before Linux 6.6")
	file := flags.String("filter", "", "a filter `file` to measure instead of the examples; it must let the guest ask for names (UDP port 53)")
	connections := flags.Int("connections", 0, "fill the table with so many connections of 100 ports, and measure that")
	floods := flags.Bool("flood", false, "flood a port with SYNs, datagrams and pings, and measure how clients fare")
	profile := flags.String("cpuprofile", "", "write what takes the time to this `file`, for go tool pprof")
	ports := flags.Int("ports", 0, "bind so many ports to one filter, and measure what that and a change of it take")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	inside := os.Getenv(insideVariable) != ""
	if *profile != "" && (*ports == 0 || inside) {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if *rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	filters := []subject{
		{name: "ftp-related.xml", xml: examples.FTPRelated},
		{name: "ftp-states.xml", xml: examples.FTPStates},
	}
	if *file != "" {
		xml, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		filters = []subject{{name: *file, xml: xml}}
	}
	options := datapath.Options{}
	if *clsact {
		options.Mechanism = datapath.Clsact
	}
	if *floods {
		return measureFloods(ctx, out, options)
	}
	if *ports > 0 {
		return measurePorts(ctx, out, options, *ports)
	}
	if *connections > 0 {
		return measureCrowd(ctx, out, options, *connections, *duration)
	}
	subjects := append([]subject{{name: "bare bridge"}}, filters...)
	return measureAll(ctx, out, subjects, options, *rounds, *duration)
}

func measureAll(ctx context.Context, out io.Writer, subjects []subject, options datapath.Options, rounds int, duration time.Duration) error {
	network, err := lab.New(ctx)
	if err != nil {
		return err
	}
	defer network.Close()
	host, _, unmount, err := openOwn(options)
	if err != nil {
		return err
	}
	defer unmount()
	// Warms everything up.
	if _, err := packetRate(ctx, network, duration/4); err != nil {
		return err
	}
	// In turns, because a machine has better and worse moments.
	for range rounds {
		for i := range subjects {
			if err := subjects[i].measure(ctx, host, network, duration); err != nil {
				return fmt.Errorf("%s: %w", subjects[i].name, err)
			}
		}
	}
	bare := median(subjects[0].rates)
	fmt.Fprintf(out, "%-20s %10s %8s %9s\n", "", "packets/s", "of bare", "bound in")
	for _, s := range subjects {
		rate := median(s.rates)
		fmt.Fprintf(out, "%-20s %10.0f %7.0f%%", s.name, rate, 100*rate/bare)
		if s.xml != nil {
			fmt.Fprintf(out, " %6.0f ms", 1000*median(s.bound))
		}
		fmt.Fprintln(out)
	}
	return nil
}

// measure puts the subject in force and sends.
func (s *subject) measure(ctx context.Context, host *datapath.Host, network *lab.Lab, duration time.Duration) error {
	begin := time.Now()
	err := network.Host.Do(func() error {
		if s.xml == nil {
			var missing *datapath.NotGuardedError
			if err := host.Release(ctx, network.Guest.Port); err != nil && !errors.As(err, &missing) {
				return err
			}
			return nil
		}
		p, err := resolve(s.name, s.xml, network.Guest)
		if err != nil {
			return err
		}
		begin = time.Now()
		_, err = host.Guard(ctx, network.Guest.Port, p, datapath.Meta{BoundAt: begin})
		return err
	})
	if err != nil {
		return err
	}
	s.bound = append(s.bound, time.Since(begin).Seconds())
	rate, err := packetRate(ctx, network, duration)
	s.rates = append(s.rates, rate)
	return err
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// openOwn opens a host on a bpffs that nobody else sees the pins of.
func openOwn(options datapath.Options) (host *datapath.Host, dir string, unmount func(), err error) {
	root, err := os.MkdirTemp("", "tapgate-bench-")
	if err != nil {
		return nil, "", nil, err
	}
	if err := unix.Mount("bpf", root, "bpf", 0, ""); err != nil {
		os.Remove(root)
		return nil, "", nil, fmt.Errorf("mount a bpffs: %w", err)
	}
	remove := func() {
		_ = unix.Unmount(root, unix.MNT_DETACH)
		_ = os.Remove(root)
	}
	options.Dir = filepath.Join(root, "tapgate")
	host, err = datapath.Open(options)
	if err != nil {
		remove()
		return nil, "", nil, err
	}
	unmount = func() {
		host.Close()
		remove()
	}
	return host, options.Dir, unmount, nil
}

// resolve works the filter out for the guest, whose address is the parameter
// IP.
func resolve(name string, xml []byte, guest *lab.Guest) (*policy.Policy, error) {
	filter, faults := nwfilter.Parse(xml, name, nwfilter.Options{})
	if filter == nil {
		lines := make([]string, len(faults))
		for i, f := range faults {
			lines[i] = f.String()
		}
		return nil, errors.New(strings.Join(lines, "\n"))
	}
	params := []nwfilter.Parameter{{Name: "IP", Value: guest.IPv4.String()}}
	return policy.Resolve(filter.Name, guest.MAC, params, func(name string) *nwfilter.Filter {
		if name == filter.Name {
			return filter
		}
		return builtin.Get(name)
	})
}
