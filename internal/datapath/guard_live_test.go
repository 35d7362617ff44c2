package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

func TestDropAllDropsEverythingOnALivePort(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			frames := [][]byte{
				l.udp(9, "hello"),
				lab.ARPFrame(l.Guest.MAC, lab.Broadcast, 1, l.Guest.MAC, l.Guest.IPv4, make(net.HardwareAddr, 6), l.Neighbour.IPv4),
				lab.EtherTypeFrame(l.Guest.MAC, l.Neighbour.MAC, lab.UnknownEtherType, make([]byte, 50)),
				lab.EtherTypeFrame(l.Guest.MAC, l.Neighbour.MAC, 0x0800, nil),
			}
			for _, frame := range frames {
				l.arrives(l.Guest, l.Neighbour, frame, true)
			}
			if c := l.guard(l.Guest.Port, resolve(t, dropAll)); c.Mechanism != mechanism || c.Replaced {
				t.Errorf("first guard: %+v", c)
			}
			for _, frame := range frames {
				l.arrives(l.Guest, l.Neighbour, frame, false)
			}
			l.arrives(l.Neighbour, l.Guest, l.reply(9, "hello"), false)
			l.state(l.Guest.Port, Guarded)
			// The guests' kernels send a frame of their own now and then.
			stats := l.stats(l.Guest.Port)
			if stats.Out.Dropped.Packets < uint64(len(frames)) || stats.In.Dropped.Packets < 1 ||
				stats.Out.Passed.Packets+stats.In.Passed.Packets > 0 {
				t.Errorf("totals: in %+v, out %+v", stats.In, stats.Out)
			}
			l.release(l.Guest.Port)
			l.arrives(l.Guest, l.Neighbour, frames[0], true)
			l.state(l.Guest.Port, "")
			l.empty()
		})
	}
}

func TestDropAllDropsEverythingOnATap(t *testing.T) {
	l := newLive(t, Automatic)
	tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0"})
	if err != nil {
		t.Fatal(err)
	}
	frame := l.udp(9, "from a tap")
	send := func() error { return tap.Send(frame) }
	l.fate(lab.Arrived(t.Context(), l.Neighbour, frame, send), true)
	l.guard(tap.Name, resolve(t, dropAll))
	l.fate(lab.Arrived(t.Context(), l.Neighbour, frame, send), false)
	l.release(tap.Name)
	l.fate(lab.Arrived(t.Context(), l.Neighbour, frame, send), true)
}

// empty checks that nothing is left but the counter of port numbers.
func (l *live) empty() {
	l.t.Helper()
	var left []string
	err := filepath.WalkDir(l.host.dir, func(path string, _ os.DirEntry, err error) error {
		if name := strings.TrimPrefix(path, l.host.dir); name != "/next_port" {
			left = append(left, name)
		}
		return err
	})
	if want := []string{"", "/ports"}; err != nil || !slices.Equal(left, want) {
		l.t.Errorf("left on the bpffs: %q (%v)", left, err)
	}
}

func TestWhatIsNotGuarded(t *testing.T) {
	l := newLive(t, Automatic)
	var missing *NotGuardedError
	for _, port := range []string{"guest0", "", ".", "..", "../..", "a/b"} {
		if err := l.host.Release(t.Context(), port); !errors.As(err, &missing) || err.Error() != port+" is not guarded" {
			t.Errorf("release %q: %v", port, err)
		}
		if _, err := l.host.Stats(t.Context(), port); !errors.As(err, &missing) {
			t.Errorf("stats of %q: %v", port, err)
		}
	}
	_, err := l.host.Guard(t.Context(), "nosuch0", resolve(t, dropAll), Meta{})
	if err == nil || err.Error() != "there is no network device nosuch0" {
		t.Errorf("guard: %v", err)
	}
	l.empty()
}

func TestAPolicyThatCannotBeEnforcedLeavesTheOldOne(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropAll))
	number := l.binding(port).Number

	refused := func(name string, p *policy.Policy, want string) {
		t.Helper()
		var err error
		l.in(func() error {
			_, err = l.host.Guard(t.Context(), port, p, Meta{})
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		l.arrives(l.Guest, l.Neighbour, l.udp(9, name), false)
		l.state(port, Guarded)
		if got := l.binding(port); got.Filter != "drop-all" || got.Number != number {
			t.Errorf("%s: the binding is of %s, number %d", name, got.Filter, got.Number)
		}
		l.oneGeneration(port)
	}
	refused("not supported", resolve(t, `<filter name="x"><rule action="drop" direction="out"><tcp connlimit-above="1001"/></rule></filter>`),
		`connlimit-above="1001" is more than can be counted; at most 1000`)
	common, err := l.host.common(l.binding(port).Skeleton)
	if err != nil {
		t.Fatal(err)
	}
	for i, owner := range common.slots.words {
		if owner == 0 {
			common.slots.words[i] = slotOwner(math.MaxUint32, 1)
		}
	}
	refused("no slot", resolve(t, acceptAll), "no slot is left")
	if err := common.leave(math.MaxUint32, func(int) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if n := len(common.slots.of(number)); n != 1 {
		t.Errorf("the port has %d slots, want 1", n)
	}
}

func TestWhatTheVerifierSaysIsOneSentence(t *testing.T) {
	needRoot(t)
	code, err := readTemplate()
	if err != nil {
		t.Fatal(err)
	}
	broken := slices.Insert(slices.Concat(code.functions[policy.Out]...), 1, asm.Mov.Reg(asm.R0, asm.R5))
	tester := newTestTester(t, dropAll)
	names, err := ebpf.NewMap(code.mapSpec(namesMap, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	_, err = loadProgram(programOut, broken, func(name string) *ebpf.Map {
		if m := tester.pair.maps[name]; m != nil {
			return m
		}
		return cmp.Or(tester.bed.maps[name], names)
	})
	var verifier *ebpf.VerifierError
	if err == nil || err.Error() != "the kernel's verifier refused the program: R5 !read_ok" || !errors.As(err, &verifier) {
		t.Errorf("got %v", err)
	}
}

func (l *live) binding(port string) *Binding {
	l.t.Helper()
	generations, err := l.host.generations.of(l.host.portDir(port))
	if err != nil || len(generations) == 0 {
		l.t.Fatalf("generations of %s: %v", port, err)
	}
	return &generations[len(generations)-1].binding
}

// oneGeneration checks that a port has nothing but its links and one
// generation.
func (l *live) oneGeneration(port string) {
	l.t.Helper()
	entries, err := os.ReadDir(l.host.portDir(port))
	if err != nil {
		l.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 3 || names[1] != "link_in" || names[2] != "link_out" {
		l.t.Errorf("pinned of %s: %q", port, names)
	}
}

func TestConcurrentGuards(t *testing.T) {
	l := newLive(t, Automatic)
	ports := []string{l.Guest.Port, l.Neighbour.Port}
	for i := range 3 {
		tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: fmt.Sprintf("tap.%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, tap.Name)
	}
	policies := []*policy.Policy{resolve(t, dropAll), resolve(t, acceptAll)}
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			err := l.Lab.Host.Do(func() error {
				// A host of its own, as another process has.
				h, err := Open(Options{Dir: l.host.dir})
				if err != nil {
					return err
				}
				_, err = h.Guard(t.Context(), ports[i%len(ports)], policies[i%2], Meta{})
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	numbers := map[uint32]string{}
	for _, port := range ports {
		l.state(port, Guarded)
		l.oneGeneration(port)
		b := l.binding(port)
		if other, taken := numbers[b.Number]; taken {
			t.Errorf("%s and %s have the number %d", other, port, b.Number)
		}
		numbers[b.Number] = port
	}
	for i := range 2 * len(ports) {
		group.Go(func() {
			err := l.Lab.Host.Do(func() error { return l.host.Release(t.Context(), ports[i%len(ports)]) })
			var missing *NotGuardedError
			if err != nil && !errors.As(err, &missing) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	l.empty()
}

func TestNothingStaysOpen(t *testing.T) {
	l := newLive(t, Automatic)
	open := func() int {
		t.Helper()
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	round := func() {
		l.guard(l.Guest.Port, resolve(t, dropAll))
		l.guard(l.Guest.Port, resolve(t, acceptAll))
		l.state(l.Guest.Port, Guarded)
		l.stats(l.Guest.Port)
		l.release(l.Guest.Port)
	}
	round()
	before := open()
	for range 5 {
		round()
	}
	// The lab and the Go runtime may open one now and then.
	if after := open(); after > before+4 {
		t.Errorf("%d files are open after 5 rounds, %d before", after, before)
	}
}

func TestWithoutRightsOneSentenceSaysWhichAreMissing(t *testing.T) {
	l := newLive(t, Automatic)
	var err error
	l.in(func() error {
		return withoutCapabilities(func() {
			_, err = l.host.Guard(t.Context(), l.Guest.Port, resolve(t, dropAll), Meta{})
		})
	})
	if want := "guard guest0: needs root (CAP_BPF and CAP_NET_ADMIN)"; !errors.Is(err, ErrNeedsRoot) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	l.empty()
}

// withoutCapabilities runs fn without the thread's capabilities. The caller's
// goroutine is locked to it.
func withoutCapabilities(fn func()) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		return err
	}
	none := all
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	fn()
	return unix.Capset(&header, &all[0])
}

func TestTheMechanismCanBeChanged(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropNine))
	for _, to := range []Mechanism{Clsact, TCX, Clsact} {
		l.host = openHost(t, l.host.dir, to)
		if c := l.guard(port, resolve(t, dropNine)); c.Mechanism != to || !c.Replaced || len(c.Notes) > 0 {
			t.Errorf("to %s: %+v", to, c)
		}
		if s := l.look(port); len(s.sightings) != 1 || s.sightings[0].mechanism() != to {
			t.Errorf("to %s: attached by %d mechanisms", to, len(s.sightings))
		}
		l.state(port, Guarded)
		l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
	}
	// Without a wish, what is in use stays.
	l.host = openHost(t, l.host.dir, Automatic)
	if c := l.guard(port, resolve(t, dropNine)); c.Mechanism != Clsact {
		t.Errorf("without a wish: %+v", c)
	}
	if got := count(t, l.stats(port), "out", 2); got != 3 {
		t.Errorf("%d packets counted, want 3", got)
	}
	l.release(port)
	l.empty()
}
