package datapath

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/examples"
	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

// manyPorts are devices in a namespace of their own, and threads in it.
type manyPorts struct {
	b     testing.TB
	host  *Host
	names []string
	space *lab.Namespace
}

func newManyPorts(b testing.TB, n int) *manyPorts {
	b.Helper()
	needRoot(b)
	space, err := lab.NewNamespace("many")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(space.Close)
	m := &manyPorts{b: b, host: openHost(b, newBPFFS(b), Automatic), space: space}
	for i := range n {
		m.names = append(m.names, fmt.Sprintf("vnet%d", i))
	}
	m.each(1, m.names, func(name string) error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "guest_" + name})
	})
	// One by one: a kernel that has to free more than 1,024 programs at once, and
	// to load one meanwhile, waits for itself (ARCHITECTURE.md, "Ideal and
	// reality").
	b.Cleanup(func() {
		m.each(2, m.names, func(name string) error {
			err := m.host.Release(context.Background(), name)
			var missing *NotGuardedError
			if errors.As(err, &missing) {
				return nil
			}
			return err
		})
	})
	return m
}

// each calls fn for all names on so many threads in the namespace.
func (m *manyPorts) each(workers int, names []string, fn func(name string) error) {
	m.b.Helper()
	work := make(chan string, len(names))
	for _, name := range names {
		work <- name
	}
	close(work)
	var group sync.WaitGroup
	errs := make(chan error, workers)
	for range workers {
		group.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends here
			if err := unix.Setns(m.space.FD(), unix.CLONE_NEWNET); err != nil {
				errs <- err
				return
			}
			for name := range work {
				if err := fn(name); err != nil {
					errs <- fmt.Errorf("%s: %w", name, err)
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		m.b.Fatal(err)
	default:
	}
}

// change prepares all ports and commits them, on 16 threads, and tells how long
// each took.
func (m *manyPorts) change(p *policy.Policy) (prepare, commit time.Duration) {
	m.b.Helper()
	var mu sync.Mutex
	prepared := map[string]*Prepared{}
	start := time.Now()
	m.each(16, m.names, func(name string) error {
		next, err := m.host.Prepare(m.b.Context(), name, p, Meta{})
		mu.Lock()
		defer mu.Unlock()
		prepared[name] = next
		return err
	})
	between := time.Now()
	m.each(16, m.names, func(name string) error {
		mu.Lock()
		next := prepared[name]
		mu.Unlock()
		_, err := next.Commit(m.b.Context())
		return err
	})
	return between.Sub(start), time.Since(between)
}

// processTime is the time that this process has had on all CPUs, which other
// processes make little longer.
func processTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkSwapThousand changes the filter of 1,000 ports (100 with -short).
func BenchmarkSwapThousand(b *testing.B) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	m := newManyPorts(b, n)
	p := examplePolicy(b, examples.FTPRelated)
	m.change(p)
	for b.Loop() {
		before := processTime()
		prepare, commit := m.change(p)
		b.ReportMetric((processTime()-before).Seconds()*1000/float64(n), "ms-cpu/port")
		b.ReportMetric(prepare.Seconds()*1000/float64(n), "ms-prepare/port")
		b.ReportMetric(commit.Seconds()*1000/float64(n), "ms-commit/port")
	}
}
