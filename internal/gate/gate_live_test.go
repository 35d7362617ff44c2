package gate

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDeviceIsShutUntilItIsAdmitted(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*", "tap7"}})
	first, second, whole := h.plug("vnet0", 0), h.plug("vnet1", 0), h.plug("tap7", 0)
	others := []cable{h.plug("tap8", 0), h.plug("tap70", 0), h.plug("xvnet0", 0), h.plug("vne", 0)}
	for _, c := range []cable{first, second, whole} {
		h.wantShut(g, c)
	}
	for _, c := range others {
		h.wantOpen(c)
	}
	if err := g.Admit(first.index); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(first)
	h.wantShut(g, second)
	for range 2 { // the second time nothing is to be done
		if err := g.Shut(first.index); err != nil {
			t.Fatal(err)
		}
		h.wantShut(g, first)
	}
}

func TestDeviceThatIsThereWhenTheGateIsShut(t *testing.T) {
	h := newHost(t)
	running, other := h.plug("vnet0", 0), h.plug("vnet1", 0)
	g := h.open(Options{Patterns: []string{"vnet*"}, Admitted: []int{running.index}})
	h.wantOpen(running)
	h.wantShut(g, other)
}

func TestRename(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*", "tap*"}})
	c := h.plug("eth5", 0)
	h.wantOpen(c)
	h.rename(c, "vnet0")
	h.wantShut(g, c)
	h.rename(c, "vnet1")
	h.wantShut(g, c)
	h.rename(c, "tap0") // shut by another pattern
	h.wantShut(g, c)
	if err := g.Admit(c.index); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(c)
	for _, name := range []string{"vnet2", "eth6", "vnet3"} {
		h.rename(c, name)
		h.wantOpen(c)
	}
	if err := g.Shut(c.index); err != nil {
		t.Fatal(err)
	}
	h.wantShut(g, c)
	h.rename(c, "eth7")
	h.wantOpen(c)
}

// Hypervisors and container runtimes make devices elsewhere and move them here.
func TestDeviceThatComesFromAnotherNamespace(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	other := newNamespace(t, "elsewhere")
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "vnet0"},
		PeerName:      "vnet0",
		PeerNamespace: netlink.NsFd(h.guests.FD()),
	}
	if err := other.Links().LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	link, err := other.Links().LinkByName("vnet0")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Links().LinkSetNsFd(link, h.ns.FD()); err != nil {
		t.Fatal(err)
	}
	c := h.connect("vnet0")
	h.wantShut(g, c)
	if err := g.Admit(c.index); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(c)
}

func TestAdmissionDoesNotEndWithTheDevice(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	first := h.plug("vnet0", 77)
	if err := g.Admit(77); err != nil {
		t.Fatal(err)
	}
	h.unplug(first)
	if got, err := g.Admitted(); err != nil || !slices.Equal(got, []int{77}) {
		t.Errorf("admitted after the device is gone: %v, %v", got, err)
	}
	// Which is why whoever admits must do this, and what it gives.
	if err := g.Shut(77); err != nil {
		t.Fatal(err)
	}
	again := h.plug("vnet0", 77)
	h.wantShut(g, again)
}

func TestAdmitOfADeviceThatIsGone(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	if err := g.Admit(77); !errors.Is(err, ErrNoDevice) {
		t.Errorf("admit: %v", err)
	}
	if got, err := g.Admitted(); err != nil || len(got) != 0 {
		t.Errorf("admitted: %v, %v", got, err)
	}
	h.wantShut(g, h.plug("vnet0", 77))
	for _, index := range []int{0, -1, 1 << 32} {
		if err := g.Admit(index); err == nil {
			t.Errorf("index %d is admitted", index)
		}
	}
}

func TestSetAdmitted(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	a, b, c := h.plug("vnet0", 0), h.plug("vnet1", 0), h.plug("vnet2", 0)
	for _, step := range []struct{ open, shut []cable }{
		{nil, []cable{a, b, c}},
		{[]cable{a, b}, []cable{c}},
		{[]cable{b, c, b}, []cable{a}},
		{[]cable{b, c}, []cable{a}},
		{nil, []cable{a, b, c}},
	} {
		var indices []int
		for _, c := range step.open {
			indices = append(indices, c.index)
		}
		if err := g.SetAdmitted(indices); err != nil {
			t.Fatal(err)
		}
		for _, c := range step.open {
			h.wantOpen(c)
		}
		for _, c := range step.shut {
			h.wantShut(g, c)
		}
	}
	many := make([]int, 10_000)
	for i := range many {
		many[i] = i + 1
	}
	if err := g.SetAdmitted(many); err != nil {
		t.Fatal(err)
	}
	if got, err := g.Admitted(); err != nil || !slices.Equal(got, many) {
		t.Errorf("%d admitted of %d: %v", len(got), len(many), err)
	}
	for i := range MaxAdmitted + 1 - len(many) {
		many = append(many, 20_000+i)
	}
	if err := g.SetAdmitted(many); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%d admitted: %v", len(many), err)
	}
	if got, err := g.Admitted(); err != nil || len(got) != 10_000 {
		t.Errorf("%d admitted after a change that failed: %v", len(got), err)
	}
	if err := g.SetAdmitted(many[1:]); err != nil {
		t.Error(err)
	}
	if err := g.SetAdmitted([]int{0}); err == nil {
		t.Error("index 0 is admitted")
	}
}

func TestReopeningKeepsWhatIsAdmittedAndCounted(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	a, b, gone := h.plug("vnet0", 0), h.plug("vnet1", 0), h.plug("vnet2", 0)
	h.wantShut(g, b)
	if err := g.SetAdmitted([]int{a.index, gone.index}); err != nil {
		t.Fatal(err)
	}
	before := shutouts(t, g)
	if err := g.Close(false); err != nil {
		t.Fatal(err)
	}
	h.unplug(gone)
	if err := g.Admit(a.index); !errors.Is(err, errClosed) {
		t.Errorf("admit through a closed gate: %v", err)
	}
	g = h.open(Options{Patterns: []string{"vnet*", "tap*"}, Admitted: []int{1}})
	if after := shutouts(t, g); after != before || before.Ingress.Packets == 0 {
		t.Errorf("dropped before %+v, and after %+v", before, after)
	}
	if got, err := g.Admitted(); err != nil || !slices.Equal(got, []int{1, a.index}) {
		t.Errorf("admitted: %v, %v", got, err)
	}
	h.wantOpen(a)
	h.wantShut(g, b)
	h.wantShut(g, h.plug("tap0", 0))

	// Removed: everything is open, and what comes is.
	if err := g.Close(true); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(b)
	h.wantOpen(h.plug("vnet3", 0))
}

func TestMethodsAtTheSameTime(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	c := h.plug("vnet0", 0)
	var running sync.WaitGroup
	for _, do := range []func() error{
		func() error { return g.Admit(c.index) },
		func() error { return g.Shut(c.index) },
		func() error { return g.SetAdmitted([]int{1, c.index}) },
		func() error { _, err := g.Admitted(); return err },
		func() error { _, err := g.Shutouts(); return err },
	} {
		running.Go(func() {
			for range 50 {
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	if err := g.SetAdmitted([]int{c.index}); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(c)
}

// On a macvlan, and on a macvtap, the guest's frames leave and the others arrive: both hooks see them.
func TestMacvlan(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"macvtap*"}})
	lower := h.plug("eth5", 0)
	err := h.ns.Links().LinkAdd(&netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: "macvtap0", ParentIndex: lower.index},
		Mode:      netlink.MACVLAN_MODE_BRIDGE,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := cable{name: "macvtap0", peer: lower.peer, index: setUp(t, h.ns, "macvtap0")}.running(h)
	h.wantShut(g, c)
	h.wantOpen(lower)
	if err := g.Admit(c.index); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(c)
}
