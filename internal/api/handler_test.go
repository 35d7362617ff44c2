package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/conntrack"
	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/store"
	"tapgate/nwfilter"
)

func TestRequestsReachTheService(t *testing.T) {
	ctx := t.Context()
	chosen := client.ConnectionFilter{Proto: "tcp", State: "new", Address: "10.0.0.0/8", Port: 22, Direction: "in"}
	whole := client.Binding{
		Port: "vnet0", MAC: "52:54:00:00:00:01", Filter: "web", Owner: &client.Owner{Name: "vm", UUID: "u"}, LinkDevice: "eth0",
		Parameters: []client.Parameter{{Name: "IP", Value: "10.0.0.5", Position: &client.Position{File: "b.xml", Line: 2, Column: 3}}, {Name: "IP", Value: "10.0.0.6"}},
	}
	bothWays(t, func(t *testing.T, f *fakeService, c *client.Client) {
		for _, test := range []struct {
			call func() (any, error)
			want string
		}{
			{func() (any, error) { return c.Status(ctx) }, "status"},
			{func() (any, error) { return c.Filters(ctx) }, "filters"},
			{func() (any, error) { return c.Filter(ctx, "web") }, `filter "web" ""`},
			{func() (any, error) { return c.FilterRevision(ctx, "web", "3f2a") }, `filter "web" "3f2a"`},
			{func() (any, error) { return c.Revisions(ctx, "web") }, `revisions "web"`},
			{func() (any, error) { return c.Define(ctx, client.Document{Source: "<filter>\n&\u2028ä"}, false) }, `define "<filter>\n&\u2028ä" "" false, dry run false`},
			{func() (any, error) {
				return c.Define(ctx, client.Document{Source: "x", File: "f", Lenient: true}, true)
			}, `define "x" "f" true, dry run true`},
			{func() (any, error) { return c.Undefine(ctx, "web", false) }, `undefine "web", force false`},
			{func() (any, error) { return c.Undefine(ctx, "web", true) }, `undefine "web", force true`},
			{func() (any, error) { return c.Rollback(ctx, "web", "", false) }, `rollback "web" to "", dry run false`},
			{func() (any, error) { return c.Rollback(ctx, "web", "3f2a", true) }, `rollback "web" to "3f2a", dry run true`},
			{func() (any, error) { return c.Ports(ctx) }, "ports"},
			{func() (any, error) { return c.Stats(ctx, "vnet0") }, `stats "vnet0"`},
			{func() (any, error) { return c.Bindings(ctx) }, "bindings"},
			{func() (any, error) { return c.Bind(ctx, whole, nil) }, `bind "vnet0" 52:54:00:00:00:01 "web" [{IP 10.0.0.5 b.xml:2:3} {IP 10.0.0.6 filter}] vm/u "eth0" <nil>`},
			{func() (any, error) {
				return c.Bind(ctx, client.Binding{Port: "vnet0", MAC: "52-54-00-00-00-01", Filter: "web"}, &client.Document{Source: "x"})
			}, `bind "vnet0" 52:54:00:00:00:01 "web" [] / "" &{Source:x File: Lenient:false}`},
			{func() (any, error) { return c.BindAgain(ctx, "vnet0") }, `bind again "vnet0"`},
			{func() (any, error) { return nil, c.Unbind(ctx, "vnet0") }, `unbind "vnet0"`},
			{func() (any, error) { return c.Flush(ctx, "vnet0", chosen) }, `flush "vnet0", all false`},
			{func() (any, error) { return c.Flush(ctx, "vnet0", client.ConnectionFilter{}) }, `flush "vnet0", all true`},
			{func() (any, error) { return c.RefreshSets(ctx, "") }, `refresh ""`},
			{func() (any, error) { return c.RefreshSets(ctx, "vnet0") }, `refresh "vnet0"`},
			{func() (any, error) { return c.Settings(ctx, "") }, `settings ""`},
			{func() (any, error) { return c.Settings(ctx, "vnet0") }, `settings "vnet0"`},
			{func() (any, error) {
				return c.Set(ctx, "", []client.Assignment{{Name: "timeout_udp", Values: []string{"60"}}, {Name: "CTRL_HELPER_FTP"}})
			}, `set "" CTRL_TIMEOUT_UDP=[60] CTRL_HELPER_FTP=[]`},
			{func() (any, error) {
				return c.Set(ctx, "vnet0", []client.Assignment{{Name: "helper_ftp", Values: []string{"21", "2121"}}})
			}, `set "vnet0" CTRL_HELPER_FTP=[21 2121]`},
			{func() (any, error) { return c.Leases(ctx, "") }, `leases ""`},
			{func() (any, error) { return c.Leases(ctx, "vnet0") }, `leases "vnet0"`},
			{func() (any, error) { return c.AddLease(ctx, "vnet0", "10.0.0.5", time.Time{}) },
				`add lease "vnet0" {Address:10.0.0.5/32 Source: Server:invalid IP Learned:0001-01-01 00:00:00 +0000 UTC Renewed:0001-01-01 00:00:00 +0000 UTC End:0001-01-01 00:00:00 +0000 UTC Pinned:false}`},
			{func() (any, error) { return c.AddLease(ctx, "vnet0", "2001:db8:1::/56", time.Unix(1e9, 0).UTC()) },
				`add lease "vnet0" {Address:2001:db8:1::/56 Source: Server:invalid IP Learned:0001-01-01 00:00:00 +0000 UTC Renewed:0001-01-01 00:00:00 +0000 UTC End:2001-09-09 01:46:40 +0000 UTC Pinned:false}`},
			{func() (any, error) { return c.PinLease(ctx, "vnet0", "2001:db8:1::/56", true) }, `pin lease "vnet0" 2001:db8:1::/56 true`},
			{func() (any, error) { return c.PinLease(ctx, "vnet0", "10.0.0.5", false) }, `pin lease "vnet0" 10.0.0.5/32 false`},
			{func() (any, error) { return c.DeleteLease(ctx, "vnet0", "fe80::5") }, `delete lease "vnet0" fe80::5/128`},
			{func() (any, error) { return c.History(ctx) }, "history"},
			// Names are names, whatever is in them.
			{func() (any, error) { return c.Filter(ctx, "..") }, `filter ".." ""`},
			{func() (any, error) { return c.Filter(ctx, "a/../b?c=d#e%2F;é") }, `filter "a/../b?c=d#e%2F;é" ""`},
			{func() (any, error) { return c.Stats(ctx, "stats") }, `stats "stats"`},
		} {
			_, err := test.call()
			if asked := f.took(); err != nil || !slices.Equal(asked, []string{test.want}) {
				t.Errorf("asked %q (%v), want %q", asked, err, test.want)
			}
		}
		if f.changedBy().UID != uint32(os.Getuid()) {
			t.Errorf("changes were made by %s", f.changedBy())
		}
		if _, err := c.Filter(ctx, ""); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("a filter without a name: %v", err)
		}
		h, err := c.History(ctx)
		if err != nil || len(h.Entries) != 1 || h.Entries[0].Kind != "port" {
			t.Errorf("the history is %+v, %v", h, err)
		}
	})
}

func TestLeasesAreTold(t *testing.T) {
	lease := func(port, address string) client.Lease {
		return client.Lease{
			Port: port, Address: address, Source: "dhcp", Server: "10.0.0.1", Pinned: true, InUse: true,
			Learned: time.Unix(1e9, 0).UTC(), Renewed: time.Unix(1e9+1, 0).UTC(), End: time.Unix(1e9+2, 0).UTC(),
		}
	}
	bothWays(t, func(t *testing.T, f *fakeService, c *client.Client) {
		f.faults = []error{errors.New("one cannot be read")}
		list, err := c.Leases(t.Context(), "")
		want := &client.LeaseList{Leases: []client.Lease{lease("vnet0", "10.0.0.5")}, Faults: []string{"one cannot be read"}}
		if diff := cmp.Diff(want, list); err != nil || diff != "" {
			t.Error(err, diff)
		}
		change, err := c.PinLease(t.Context(), "vnet1", "2001:db8:1::/56", true)
		wanted := &client.LeaseChange{
			Port: "vnet1", Lease: lease("vnet1", "2001:db8:1::/56"), What: "changed", Notes: []string{"a note"},
			Change: client.PortChange{Port: "vnet1", Result: client.PortUpdated},
		}
		if diff := cmp.Diff(wanted, change); err != nil || diff != "" {
			t.Error(err, diff)
		}
		f.err = fmt.Errorf("wrapped: %w", store.ErrNotFound)
		if _, err := c.DeleteLease(t.Context(), "vnet0", "10.0.0.5"); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("deleting what is not there: %v", err)
		}
		f.took()
		for _, address := range []string{"10.0.0.256", "10.0.0.0/24", "fe80::1%eth0", "::", "a/b", "2001:db8::1/64"} {
			if _, err := c.DeleteLease(t.Context(), "vnet0", address); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("%s: %v", address, err)
			}
		}
		if asked := f.took(); len(asked) > 0 {
			t.Errorf("asked %q", asked)
		}
	})
}

func TestFailuresAreTold(t *testing.T) {
	diagnostics := nwfilter.Diagnostics{{
		Pos: nwfilter.Position{File: "f.xml", Line: 3, Column: 7}, Element: "tcp", Attribute: "dstprt", Message: "<tcp> has no attribute", Hint: "did you mean dstport",
	}}
	refused := &agent.RefusedError{What: "filter web", Ports: []agent.PortChange{{Port: "vnet0", Result: agent.PortFailed, Detail: "no room"}}}
	bothWays(t, func(t *testing.T, f *fakeService, c *client.Client) {
		for _, test := range []struct {
			err  error
			want client.Error
		}{
			{errors.New("no room"), client.Error{Code: client.ErrInternal, Status: 500}},
			{fmt.Errorf("wrapped: %w", store.ErrNotFound), client.Error{Code: client.ErrNotFound, Status: 404}},
			{store.ErrInvalid, client.Error{Code: client.ErrInvalid, Status: 400}},
			{&store.InUseError{Filter: "a", Filters: []string{"b"}, Ports: []string{"vnet0"}}, client.Error{
				Code: client.ErrInUse, Status: 409, UsedBy: &client.Users{Filters: []string{"b"}, Ports: []string{"vnet0"}}}},
			{refused, client.Error{Code: client.ErrRefused, Status: 422, Ports: []client.PortChange{{Port: "vnet0", Result: client.PortFailed, Detail: "no room"}}}},
			{diagnostics, client.Error{Code: client.ErrInvalid, Status: 400, Diagnostics: []client.Diagnostic{{
				Position: client.Position{File: "f.xml", Line: 3, Column: 7}, Severity: "error", Element: "tcp", Attribute: "dstprt", Message: "<tcp> has no attribute", Hint: "did you mean dstport"}}}},
			{&datapath.NotGuardedError{Port: "vnet0"}, client.Error{Code: client.ErrNotGuarded, Status: 404}},
			{&device.NotFoundError{Name: "vnet0"}, client.Error{Code: client.ErrNoDevice, Status: 404}},
			{fmt.Errorf("open: %w", datapath.ErrNeedsRoot), client.Error{Code: client.ErrNeedsRoot, Status: 403}},
			{&datapath.UnsupportedError{Missing: []string{"a", "b"}}, client.Error{Code: client.ErrUnsupported, Status: 422}},
		} {
			f.err, test.want.Message = test.err, test.err.Error()
			_, err := c.Define(t.Context(), client.Document{Source: "x"}, false)
			var got *client.Error
			if !errors.As(err, &got) || !errors.Is(err, test.want.Code) {
				t.Errorf("%v became %v", test.err, err)
				continue
			}
			if diff := cmp.Diff(test.want, *got, cmp.AllowUnexported(client.Error{})); diff != "" {
				t.Errorf("%T: %s", test.err, diff)
			}
		}
		f.err = nil
		f.faults = []error{errors.New("one cannot be read")}
		list, err := c.Filters(t.Context())
		if err != nil || len(list.Filters) != 1 || !slices.Equal(list.Faults, []string{"one cannot be read"}) {
			t.Errorf("%+v, %v", list, err)
		}
		f.err, f.changes = errors.New("no answer"), []datapath.SetChange{{Port: "vnet0"}}
		changes, err := c.RefreshSets(t.Context(), "")
		if len(changes) != 1 || err == nil || err.Error() != "no answer" {
			t.Errorf("what was done before a failure: %+v, %v", changes, err)
		}
	})
}

// tcpTo is a connection to a port of 10.0.0.1.
func tcpTo(port uint16) *datapath.Connection {
	c := &datapath.Connection{}
	c.Key = conntrack.Key{Family: 4, Proto: 6, APort: 4000, BPort: port}
	c.A.Lo, c.B.Lo = 10<<24|9, 10<<24|1
	return c
}

func TestStreams(t *testing.T) {
	bothWays(t, func(t *testing.T, f *fakeService, c *client.Client) {
		ctx := t.Context()
		for port := range uint16(2000) {
			f.connections = append(f.connections, tcpTo(port%20+1))
		}
		n := 0
		for one, err := range c.Connections(ctx, "vnet0", client.ConnectionFilter{Port: 7}) {
			if err != nil || one.Responder != (client.End{Address: "10.0.0.1", Port: 7}) {
				t.Fatalf("%+v, %v", one, err)
			}
			n++
		}
		if n != 100 {
			t.Errorf("%d connections, want 100", n)
		}
		f.streamErr = &datapath.NotGuardedError{Port: "vnet0"}
		n = 0
		var last error
		for _, err := range c.Connections(ctx, "vnet0", client.ConnectionFilter{}) {
			n++
			last = err
		}
		if n != 2001 || !errors.Is(last, client.ErrNotGuarded) || last.Error() != "vnet0 is not guarded" {
			t.Errorf("after %d connections: %v", n, last)
		}
		for range c.Connections(ctx, "vnet0", client.ConnectionFilter{}) {
			break // which ends the call
		}
		f.connections = nil
		for _, err := range c.Connections(ctx, "vnet0", client.ConnectionFilter{}) {
			var e *client.Error
			if !errors.As(err, &e) || e.Status != 404 || e.Code != client.ErrNotGuarded {
				t.Errorf("a failure before the first: %v", err)
			}
		}
		for _, err := range c.Connections(ctx, "vnet0", client.ConnectionFilter{Proto: "tpc"}) {
			if !errors.Is(err, client.ErrInvalid) || !strings.HasPrefix(err.Error(), `proto "tpc" is no protocol: expected icmp, tcp,`) {
				t.Errorf("%v", err)
			}
		}
		f.streamErr = nil
		for range c.Expectations(ctx, "vnet0", client.ConnectionFilter{State: "new", Direction: "in"}) {
			t.Error("something is expected")
		}
	})
}

func TestWatchGoesOnUntilTheClientGoes(t *testing.T) {
	bothWays(t, func(t *testing.T, f *fakeService, c *client.Client) {
		f.notice = datapath.Notice{Report: &datapath.Report{Port: "vnet0", Frame: []byte{1, 2, 3}, Length: 3}}
		leaves := map[string]func(cancel func()) bool{
			"the loop ends":    func(func()) bool { return false },
			"the context ends": func(cancel func()) bool { cancel(); return true },
		}
		for how, leave := range leaves {
			f.ended = make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			for notice, err := range c.Watch(ctx, client.WatchOptions{Ports: []string{"vnet0", "vnet1"}, Drops: true, Rate: 7}) {
				if err != nil || notice.Report == nil || string(notice.Report.Frame) != "\x01\x02\x03" {
					t.Fatalf("%s: %+v, %v", how, notice, err)
				}
				if n++; n >= 3 && !leave(cancel) {
					break
				}
			}
			cancel()
			<-f.ended
			if n < 3 {
				t.Errorf("%s: %d notices", how, n)
			}
			if asked := f.took(); !slices.Equal(asked, []string{`watch ["vnet0" "vnet1"] true false 7`}) {
				t.Errorf("%s: asked %q", how, asked)
			}
		}
		f.ended, f.err = nil, &datapath.NotGuardedError{Port: "vnet9"}
		for _, err := range c.Watch(t.Context(), client.WatchOptions{Passes: true}) {
			if !errors.Is(err, client.ErrNotGuarded) {
				t.Errorf("%v", err)
			}
		}
	})
}

// A command must not end before what it has begun.
func TestLocalCallIsWaitedFor(t *testing.T) {
	f := &fakeService{hold: make(chan struct{}), entered: make(chan struct{}), stubborn: true}
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error, 1)
	go func() {
		_, err := Local(f, store.ThisProcess()).Status(ctx)
		returned <- err
	}()
	<-f.entered
	cancel()
	select {
	case err := <-returned:
		t.Errorf("it returned while the call was at work: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(f.hold)
	if err := <-returned; err != nil {
		t.Errorf("the result is lost: %v", err)
	}
}
