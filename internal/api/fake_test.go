package api

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
	"tapgate/internal/learn"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// fakeService remembers what it was asked and says what it is told to.
type fakeService struct {
	mu    sync.Mutex
	asked []string
	by    store.Actor

	err    error
	faults []error
	// connections are of port vnet0.
	connections  []*datapath.Connection
	expectations []*datapath.Expectation
	changes      []datapath.SetChange
	// streamErr ends streams after what they have to tell.
	streamErr error
	// notice is told until the context ends; then ended is closed.
	notice datapath.Notice
	ended  chan struct{}
	// hold is waited for by Status, which tells entered before.
	hold, entered chan struct{}
	// stubborn lets Status wait for hold whatever its context says.
	stubborn bool
	// panics lets Status fail.
	panics bool
}

func (f *fakeService) ask(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

func (f *fakeService) change(by store.Actor, format string, args ...any) {
	f.ask(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.by = by
}

func (f *fakeService) changedBy() store.Actor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by
}

// took returns what was asked since it was last called.
func (f *fakeService) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fakeService) Status(ctx context.Context) agent.Status {
	f.ask("status")
	if f.panics {
		panic("for a test")
	}
	if f.hold != nil {
		select {
		case f.entered <- struct{}{}:
		case <-ctx.Done():
		}
		if f.stubborn {
			<-f.hold
		}
		select {
		case <-f.hold:
		case <-ctx.Done():
		}
	}
	return agent.Status{Version: "v", StateDir: "/state", BPFFS: "/bpffs"}
}

func (f *fakeService) Filters(context.Context) ([]agent.FilterInfo, []error, error) {
	f.ask("filters")
	return []agent.FilterInfo{{Name: "web", Chain: "root"}}, f.faults, f.err
}

func (f *fakeService) Filter(_ context.Context, name, revision string) (*agent.Filter, error) {
	f.ask("filter %q %q", name, revision)
	return &agent.Filter{FilterInfo: agent.FilterInfo{Name: name}, Source: "<filter/>"}, f.err
}

func (f *fakeService) Revisions(_ context.Context, name string) ([]store.Revision, error) {
	f.ask("revisions %q", name)
	return nil, f.err
}

func (f *fakeService) Define(_ context.Context, by store.Actor, d agent.Document, dryRun bool) (*agent.FilterChange, error) {
	f.change(by, "define %q %q %t, dry run %t", d.Source, d.File, d.Lenient, dryRun)
	return &agent.FilterChange{Filter: "web", What: "defined"}, f.err
}

func (f *fakeService) Undefine(_ context.Context, by store.Actor, name string, force bool) (*agent.FilterChange, error) {
	f.change(by, "undefine %q, force %t", name, force)
	return &agent.FilterChange{Filter: name, What: "undefined"}, f.err
}

func (f *fakeService) Rollback(_ context.Context, by store.Actor, name, to string, dryRun bool) (*agent.FilterChange, error) {
	f.change(by, "rollback %q to %q, dry run %t", name, to, dryRun)
	return &agent.FilterChange{Filter: name, What: "rolled back"}, f.err
}

func (f *fakeService) Ports(context.Context) ([]agent.Port, []error, error) {
	f.ask("ports")
	return nil, f.faults, f.err
}

func (f *fakeService) Bind(_ context.Context, by store.Actor, b binding.Binding, own *agent.Document) (*agent.Bound, error) {
	f.change(by, "bind %q %s %q %v %s/%s %q %+v", b.Port, b.MAC, b.Filter, b.Parameters, b.OwnerName, b.OwnerUUID, b.LinkDevice, own)
	return &agent.Bound{Port: b.Port}, f.err
}

func (f *fakeService) BindAgain(_ context.Context, by store.Actor, port string) (*agent.Bound, error) {
	f.change(by, "bind again %q", port)
	return &agent.Bound{Port: port}, f.err
}

func (f *fakeService) Unbind(_ context.Context, by store.Actor, port string) error {
	f.change(by, "unbind %q", port)
	return f.err
}

func (f *fakeService) Bindings(context.Context) ([]*binding.Binding, []error, error) {
	f.ask("bindings")
	return nil, f.faults, f.err
}

func (f *fakeService) Stats(_ context.Context, port string) (*agent.Stats, error) {
	f.ask("stats %q", port)
	return &agent.Stats{Port: agent.Port{Port: datapath.Port{Name: port}}}, f.err
}

func (f *fakeService) Connections(_ context.Context, port string) iter.Seq2[*datapath.Connection, error] {
	f.ask("connections %q", port)
	return listOf(f, f.connections)
}

func (f *fakeService) Expectations(_ context.Context, port string) iter.Seq2[*datapath.Expectation, error] {
	f.ask("expectations %q", port)
	return listOf(f, f.expectations)
}

func listOf[T any](f *fakeService, list []*T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for _, one := range list {
			if !yield(one, nil) {
				return
			}
		}
		if f.streamErr != nil {
			yield(nil, f.streamErr)
		}
	}
}

func (f *fakeService) Flush(_ context.Context, port string, match func(*datapath.Connection) bool) (int, error) {
	f.ask("flush %q, all %t", port, match == nil)
	return 3, f.err
}

func (f *fakeService) RefreshSets(_ context.Context, port string) ([]datapath.SetChange, error) {
	f.ask("refresh %q", port)
	return f.changes, f.err
}

func (f *fakeService) Watch(ctx context.Context, o datapath.WatchOptions) iter.Seq2[datapath.Notice, error] {
	f.ask("watch %q %t %t %d", o.Ports, o.Drops, o.Passes, o.Rate)
	return func(yield func(datapath.Notice, error) bool) {
		if f.ended != nil {
			defer close(f.ended)
		}
		for ctx.Err() == nil {
			if !yield(f.notice, f.err) || f.err != nil {
				return
			}
		}
	}
}

// fakeLease has something of everything.
func fakeLease(port, address string) agent.Lease {
	return agent.Lease{
		Port: port, InUse: true, Lease: learn.Lease{
			Address: netip.MustParsePrefix(address), Source: learn.DHCP, Server: netip.MustParseAddr("10.0.0.1"), Pinned: true,
			Learned: time.Unix(1e9, 0).UTC(), Renewed: time.Unix(1e9+1, 0).UTC(), End: time.Unix(1e9+2, 0).UTC(),
		},
	}
}

func (f *fakeService) Leases(_ context.Context, port string) ([]agent.Lease, []error, error) {
	f.ask("leases %q", port)
	return []agent.Lease{fakeLease("vnet0", "10.0.0.5/32")}, f.faults, f.err
}

func (f *fakeService) leaseChange(by store.Actor, port string, address netip.Prefix, format string, args ...any) (*agent.LeaseChange, error) {
	f.change(by, format, args...)
	if f.err != nil {
		return nil, f.err
	}
	return &agent.LeaseChange{Port: port, Lease: fakeLease(port, address.String()), What: "changed", Notes: []string{"a note"}, PortChange: agent.PortChange{Port: port, Result: agent.PortUpdated}}, nil
}

func (f *fakeService) AddLease(_ context.Context, by store.Actor, port string, l learn.Lease) (*agent.LeaseChange, error) {
	return f.leaseChange(by, port, l.Address, "add lease %q %+v", port, l)
}

func (f *fakeService) PinLease(_ context.Context, by store.Actor, port string, address netip.Prefix, pinned bool) (*agent.LeaseChange, error) {
	return f.leaseChange(by, port, address, "pin lease %q %s %t", port, address, pinned)
}

func (f *fakeService) DeleteLease(_ context.Context, by store.Actor, port string, address netip.Prefix) (*agent.LeaseChange, error) {
	return f.leaseChange(by, port, address, "delete lease %q %s", port, address)
}

func (f *fakeService) Settings(_ context.Context, port string) (settings.Values, error) {
	f.ask("settings %q", port)
	return settings.Defaults()[:1], f.err
}

func (f *fakeService) Set(_ context.Context, by store.Actor, port string, list []settings.Assignment) (*agent.SettingsChange, error) {
	text := ""
	for _, a := range list {
		text += fmt.Sprintf(" %s=%v", a.Setting.Name, a.Values)
	}
	f.change(by, "set %q%s", port, text)
	return &agent.SettingsChange{}, f.err
}

func (f *fakeService) History(context.Context) ([]store.Entry, []error, error) {
	f.ask("history")
	return []store.Entry{{ID: 1, Kind: store.BindingKind, Name: "vnet0"}}, f.faults, f.err
}

// serve serves a service at a socket of the test's own until the test ends.
func serve(t *testing.T, service agent.Service, limits Limits) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "run", "s")
	l, err := listen(socket, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	serveAt(t, l, service, limits)
	return socket
}

func serveAt(t *testing.T, l net.Listener, service agent.Service, limits Limits) *Server {
	s := NewServer(service, limits, nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// bothWays runs a test with a client of a socket, and one of the same process.
func bothWays(t *testing.T, test func(*testing.T, *fakeService, *client.Client)) {
	t.Run("socket", func(t *testing.T) {
		f := &fakeService{}
		c := client.New(serve(t, f, Limits{}))
		t.Cleanup(c.Close)
		test(t, f, c)
	})
	t.Run("local", func(t *testing.T) {
		f := &fakeService{}
		test(t, f, Local(f, store.ThisProcess()))
	})
}
