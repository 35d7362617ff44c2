package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tapgate/internal/datapath"
	"tapgate/internal/device"
	"tapgate/internal/policy"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// fakeHost is a datapath and the devices of a host, in memory.
type fakeHost struct {
	mu      sync.Mutex
	devices map[string]device.Device
	index   int
	ports   map[string]*datapath.Port
	// refuse and break are what Prepare and Commit say of a port, unshuttable what
	// Shut does.
	refuse, broken, unshuttable map[string]error
	// prepared counts what was prepared and neither committed nor discarded.
	prepared int
	calls    []string
	// observations are what Observe gives, memories what Remember was told.
	observations chan datapath.Observation
	memories     map[string][]byte
}

func newFakeHost() *fakeHost {
	return &fakeHost{
		devices: map[string]device.Device{}, ports: map[string]*datapath.Port{},
		refuse: map[string]error{}, broken: map[string]error{}, unshuttable: map[string]error{},
		observations: make(chan datapath.Observation), memories: map[string][]byte{},
	}
}

func (h *fakeHost) list() (map[string]device.Device, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.devices), nil
}

// addresses are the host's own: one on each bridge.
func (h *fakeHost) addresses(index int) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 255, byte(index)})}, nil
}

// add makes a device, with the next index.
func (h *fakeHost) add(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.index++
	h.devices[name] = device.Device{Name: name, Index: h.index, Kind: "tun", Namespace: 1}
}

// remove ends a device, and with it what is attached to it.
func (h *fakeHost) remove(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	index := h.devices[name].Index
	delete(h.devices, name)
	for _, p := range h.ports {
		if p.Ifindex == index {
			p.State, p.Ifindex, p.Device = datapath.DeviceGone, 0, ""
		}
	}
}

// rename gives a device another name; what is attached to it stays.
func (h *fakeHost) rename(from, to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dev := h.devices[from]
	delete(h.devices, from)
	dev.Name = to
	h.devices[to] = dev
}

func (h *fakeHost) call(format string, args ...any) {
	h.calls = append(h.calls, fmt.Sprintf(format, args...))
}

type fakePrepared struct {
	host *fakeHost
	port string
	next datapath.Port
}

func (h *fakeHost) Prepare(_ context.Context, port string, p *policy.Policy, meta datapath.Meta) (Prepared, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dev, ok := h.devices[port]
	if !ok {
		return nil, &device.NotFoundError{Name: port}
	}
	if err := h.refuse[port]; err != nil {
		return nil, err
	}
	if old := h.ports[port]; old != nil && old.Ifindex != 0 && old.Ifindex != dev.Index {
		return nil, errors.New("the device that is guarded under this name has another now")
	}
	h.prepared++
	return &fakePrepared{h, port, datapath.Port{
		Name: port, State: datapath.Guarded, Device: port, Ifindex: dev.Index, Filter: p.Filter, MAC: p.MAC.String(),
		Parameters: meta.Parameters, Settings: meta.Settings, Digest: meta.Digest,
		Learning: meta.Learning,
	}}, nil
}

func (p *fakePrepared) Commit(context.Context) (datapath.Change, error) {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	p.host.prepared--
	if err := p.host.broken[p.port]; err != nil {
		return datapath.Change{}, err
	}
	p.host.call("guard %s by %s", p.port, p.next.Filter)
	p.host.ports[p.port] = &p.next
	return datapath.Change{Mechanism: datapath.TCX}, nil
}

func (p *fakePrepared) Discard() error {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	p.host.prepared--
	return nil
}

func (h *fakeHost) Shut(_ context.Context, port string, replace bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	dev, ok := h.devices[port]
	if !ok {
		return &device.NotFoundError{Name: port}
	}
	if err := h.unshuttable[port]; err != nil {
		return err
	}
	if p := h.ports[port]; p != nil && p.Ifindex == dev.Index && (p.State == datapath.Shut || p.State == datapath.Guarded && !replace) {
		return nil
	}
	h.call("shut %s", port)
	h.ports[port] = &datapath.Port{Name: port, State: datapath.Shut, Device: port, Ifindex: dev.Index}
	return nil
}

func (h *fakeHost) Release(_ context.Context, port string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[port] == nil {
		return &datapath.NotGuardedError{Port: port}
	}
	h.call("release %s", port)
	delete(h.ports, port)
	delete(h.memories, port)
	return nil
}

func (h *fakeHost) Follow(_ context.Context, devices map[string]device.Device) (moved []datapath.Moved, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := map[int]string{}
	for name, d := range devices {
		names[d.Index] = name
	}
	next := map[string]*datapath.Port{}
	memories := map[string][]byte{}
	for name, p := range h.ports {
		if to := names[p.Ifindex]; p.Ifindex != 0 && to != "" {
			if to != name {
				moved = append(moved, datapath.Moved{From: name, To: to})
			}
			p.Name, p.Device = to, to
			next[to], memories[to] = p, h.memories[name]
		}
	}
	for name, p := range h.ports {
		if p.Ifindex == 0 && next[name] == nil {
			next[name], memories[name] = p, h.memories[name]
		}
	}
	h.ports, h.memories = next, memories
	return moved, nil
}

func (h *fakeHost) Repair(context.Context) ([]datapath.Repaired, error) { return nil, nil }

func (h *fakeHost) Survey(_ context.Context, only ...string) (ports []datapath.Port, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, p := range h.ports {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		shown := *p
		if dev, ok := h.devices[name]; ok && shown.Ifindex == 0 {
			shown.State, shown.Ifindex = datapath.Unguarded, dev.Index
		}
		ports = append(ports, shown)
	}
	return ports, nil
}

func (h *fakeHost) Ports(ctx context.Context) ([]datapath.Port, error) { return h.Survey(ctx) }

func (h *fakeHost) Stats(_ context.Context, port string) (*datapath.Stats, error) {
	return nil, &datapath.NotGuardedError{Port: port}
}

func (h *fakeHost) Connections(_ context.Context, port string) iter.Seq2[*datapath.Connection, error] {
	return failed[*datapath.Connection](&datapath.NotGuardedError{Port: port})
}

func (h *fakeHost) Expectations(_ context.Context, port string) iter.Seq2[*datapath.Expectation, error] {
	return failed[*datapath.Expectation](&datapath.NotGuardedError{Port: port})
}

func (h *fakeHost) Flush(context.Context, string, func(*datapath.Connection) bool) (int, error) {
	return 0, nil
}

func (h *fakeHost) RefreshSets(context.Context, string) ([]datapath.SetChange, error) {
	return nil, nil
}

func (h *fakeHost) Watch(context.Context, datapath.WatchOptions) iter.Seq2[datapath.Notice, error] {
	return failed[datapath.Notice](errors.New("nothing to watch"))
}

func (h *fakeHost) Observe(ctx context.Context) iter.Seq2[datapath.Observation, error] {
	return func(yield func(datapath.Observation, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case o := <-h.observations:
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// Inject notes the frame's direction and length.
func (h *fakeHost) Inject(_ context.Context, port string, frame []byte, out bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.devices[port]; !ok {
		return &device.NotFoundError{Name: port}
	}
	h.call("inject into %s: %d bytes, out %v", port, len(frame), out)
	return nil
}

func (h *fakeHost) Remember(port string, memory []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[port] == nil {
		return &datapath.NotGuardedError{Port: port}
	}
	h.memories[port] = slices.Clone(memory)
	return nil
}

func (h *fakeHost) Recall(port string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[port] == nil {
		return nil, &datapath.NotGuardedError{Port: port}
	}
	return h.memories[port], nil
}

// fakeGate remembers who is admitted.
type fakeGate struct{ admitted map[int]bool }

func (g *fakeGate) Admit(index int) error { g.admitted[index] = true; return nil }
func (g *fakeGate) Shut(index int) error  { delete(g.admitted, index); return nil }
func (g *fakeGate) SetAdmitted(indices []int) error {
	clear(g.admitted)
	for _, index := range indices {
		g.admitted[index] = true
	}
	return nil
}

// kit is an agent on a fake host and a state directory.
type kit struct {
	testing.TB
	*Agent
	host *fakeHost
	gate *fakeGate
	dir  string
	log  *strings.Builder
}

var alice = store.Actor{UID: 1000, User: "alice"}

// newKit makes a daemon's agent, or a command's if daemon is nil.
func newKit(t testing.TB, daemon *DaemonOptions) *kit {
	k := &kit{TB: t, host: newFakeHost(), dir: filepath.Join(t.TempDir(), "state"), log: &strings.Builder{}}
	if daemon != nil && daemon.Gate == nil {
		k.gate = &fakeGate{map[int]bool{}}
		daemon.Gate = k.gate
	}
	k.Agent = New(Options{
		Store: store.New(store.NewFiles(k.dir)), Open: func() (Datapath, error) { return k.host, nil },
		Devices: k.host.list, Addresses: k.host.addresses, Daemon: daemon, Log: slog.New(slog.NewTextHandler(k.log, nil)),
	})
	return k
}

// look is a full pass, or one for what changed.
func (k *kit) look(all bool) { k.Agent.pass(k.Context(), k.host, all) }

func (k *kit) define(text string) (*FilterChange, error) {
	return k.Define(k.Context(), alice, Document{Source: text}, false)
}

func (k *kit) mustDefine(text string) *FilterChange {
	k.Helper()
	done, err := k.define(text)
	if err != nil {
		k.Fatal(err)
	}
	return done
}

func (k *kit) bindTo(port, filter string, params ...string) (*Bound, error) {
	b := binding.Binding{Port: port, Filter: filter, MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(len(port))}}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		b.Parameters = append(b.Parameters, nwfilter.Parameter{Name: name, Value: value})
	}
	return k.Bind(k.Context(), alice, b, nil)
}

func (k *kit) mustBind(port, filter string, params ...string) {
	k.Helper()
	if _, err := k.bindTo(port, filter, params...); err != nil {
		k.Fatal(err)
	}
}

// stands checks a port's state and filter, as Ports tells them: "guarded a".
func (k *kit) stands(port, want string) {
	k.Helper()
	ports, _, err := k.Ports(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	got := "none"
	for _, p := range ports {
		if p.Name == port {
			got = strings.TrimSpace(string(p.State) + " " + p.Filter)
		}
	}
	if got != want {
		k.Errorf("port %s: %s, want %s", port, got, want)
	}
}

// quiet checks that a pass finds nothing to do.
func (k *kit) quiet() {
	k.Helper()
	before := len(k.host.calls)
	k.look(true)
	if calls := k.host.calls[before:]; len(calls) > 0 {
		k.Errorf("a second look does %v", calls)
	}
	if k.host.prepared != 0 {
		k.Errorf("%d prepared and forgotten", k.host.prepared)
	}
}

func filterDoc(name, entries string) string {
	return "<filter name='" + name + "'>" + entries + "</filter>"
}

func rule(text string) string {
	return "<rule action='accept' direction='inout'>" + text + "</rule>"
}
