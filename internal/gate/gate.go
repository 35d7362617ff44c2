// Package gate holds new devices shut from the moment they are registered, without a process that
// would have to react: a netlink event and the attachment of a program take milliseconds, in which a
// guest could send and receive.
//
// The gate is an nftables table of the family netdev, whose chains at ingress and egress are hooked
// on the beginning of devices' names. The kernel hooks a device that matches in the notifier of its
// registration, of its renaming, and of its arrival from another network namespace
// (nf_tables_netdev_event in net/netfilter/nft_chain_filter.c), under the lock without which the
// device cannot be set up. The chains drop everything but what belongs to a device of the set
// `admitted`: those that a program guards, and those that are known and nobody's business.
//
// The table has an owner, the socket of the process that opened it: `nft flush ruleset` of others
// leaves it alone, and other changes fail. When the process ends, however it does, the table stays in
// force and belongs to nobody, until Open replaces it or Remove takes it away. An orphan is not
// protected from a flush. An nft that is older than these hooks has trouble with the table: see OldNft.
//
// # What the gate sees
//
// A program at tcx or clsact of a device runs before the gate at ingress, and after it at egress.
// The gate does not see what XDP decides on, what a program at tc of another device redirects to this
// one (the kernel marks it to skip the egress hook, nf_skip_egress), and what a packet socket sends
// with PACKET_QDISC_BYPASS; all three need root in the host's namespace.
//
// # Indices
//
// Admission is by interface index, so that a device stays admitted when it is renamed, and one that
// is renamed into a pattern is shut until it is admitted; one that is renamed out of all patterns is
// not the gate's any more. It does not end with the device: whoever
// admits must call Shut when a device is gone. Until then a new device with that index is open. The
// kernel gives indices in a circle of 2³¹, so that this needs somebody who asks for an index. A set
// keyed by index and name together would not help against that, and would cut a device that is
// renamed; the group of a device (iifgroup) ends with it, but belongs to the administrator.
package gate

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Options say what a gate is for.
type Options struct {
	// Patterns are the devices that are shut: "vnet*" for all whose names begin with vnet, or a
	// device's whole name. At least one.
	Patterns []string
	// Admitted are the indices of devices that are open from the start, without an interruption.
	// What a gate without an owner admits stays admitted if there is such a device; SetAdmitted
	// corrects that. Open and SetAdmitted take indices as they are, of devices or not.
	Admitted []int
	// Running are open from the start as well where there was no gate before: guests that run behind
	// them must not be cut. Where there was one, what it did not admit is new and stays shut.
	Running []int
}

// Gate is the gate of one network namespace. Its methods may be used at the same time.
type Gate struct {
	patterns []pattern

	mu     sync.Mutex
	socket *socket // nil when closed
}

// Count is a number of packets, and their bytes from the Ethernet header on at egress, after it at
// ingress.
type Count struct{ Packets, Bytes uint64 }

// Shutouts is what the gate has dropped, since there is one in the network namespace. Ingress is what
// devices received: what guests sent, but on a macvtap what they should get.
type Shutouts struct{ Ingress, Egress Count }

func (s *Shutouts) at(h hook) *Count {
	if h == ingress {
		return &s.Ingress
	}
	return &s.Egress
}

// Open shuts the gate in the network namespace of the calling thread and becomes its owner. A gate
// without an owner is replaced, in one transaction. If another process owns it, the error is a
// *HeldError; if the kernel cannot do it, an *UnsupportedError; and nothing was changed.
func Open(options Options) (*Gate, error) {
	patterns, err := parsePatterns(options.Patterns)
	if err != nil {
		return nil, fmt.Errorf("open the gate: %w", err)
	}
	if err := checkIndices(slices.Concat(options.Admitted, options.Running)); err != nil {
		return nil, fmt.Errorf("open the gate: %w", err)
	}
	s, err := dial()
	if err != nil {
		return nil, fmt.Errorf("open the gate: %w", explain(err))
	}
	g := &Gate{patterns: patterns, socket: s}
	admitted := options.Admitted
	if _, err := s.members(); errors.Is(err, unix.ENOENT) {
		admitted = slices.Concat(admitted, options.Running)
	}
	if err := g.install(admitted); err != nil {
		s.close()
		return nil, fmt.Errorf("open the gate: %w", err)
	}
	return g, nil
}

// install makes the gate, or makes it anew with what it admits and has counted.
func (g *Gate) install(admitted []int) error {
	kept, counts, err := g.socket.inherit()
	if err != nil {
		return err
	}
	all := unique(append(kept, admitted...))
	err = g.socket.commit(append([]message{removal()}, construction(g.patterns, all, counts)...)...)
	return g.socket.refused(err)
}

// inherit reads what is worth keeping of a gate that nobody owns: nothing where there is none.
func (s *socket) inherit() (kept []int, counts Shutouts, err error) {
	members, err := s.members()
	if err != nil {
		// Whatever keeps the kernel from answering will keep it from making a gate, and is explained
		// there.
		return nil, counts, nil
	}
	for _, index := range members {
		there, err := s.hasDevice(index)
		if err != nil {
			return nil, counts, fmt.Errorf("find the device with index %d: %w", index, err)
		}
		if there {
			kept = append(kept, index)
		}
	}
	for _, h := range []hook{ingress, egress} {
		// A table of this name without counters is replaced like any other.
		*counts.at(h), _ = s.count(h)
	}
	return kept, counts, nil
}

// refused explains why a transaction that changes the table failed.
func (s *socket) refused(err error) error {
	if errors.Is(err, unix.EPERM) {
		if port, ownerErr := s.owner(); ownerErr == nil && port != 0 && port != s.port {
			return &HeldError{Port: port}
		}
	}
	return explain(err)
}

// Patterns are the patterns in force, without those that others cover.
func (g *Gate) Patterns() []string {
	var texts []string
	for _, p := range g.patterns {
		texts = append(texts, p.String())
	}
	return texts
}

// Match reports whether a device of this name is shut until it is admitted.
func (g *Gate) Match(name string) bool {
	return slices.ContainsFunc(g.patterns, func(p pattern) bool { return p.covers(pattern{name: name}) })
}

// Admit opens the gate to a device. It fails with ErrNoDevice, and the index is not admitted, if the
// device is gone by now.
func (g *Gate) Admit(index int) error {
	err := g.change(func(s *socket) error {
		if err := checkIndices([]int{index}); err != nil {
			return err
		}
		if err := s.commit(elements(unix.NFT_MSG_NEWSETELEM, []int{index})...); err != nil {
			return err
		}
		// Only now: a device that vanishes after this is reported as gone after it.
		there, err := s.hasDevice(index)
		if err == nil && !there {
			err = ErrNoDevice
		}
		if err != nil {
			return errors.Join(err, s.commit(elements(msgDestroyElement, []int{index})...))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("admit the device with index %d through the gate: %w", index, err)
	}
	return nil
}

// Shut closes the gate to a device; an index that is not admitted stays so. What the device's
// queues and backlog have taken already is not called back.
func (g *Gate) Shut(index int) error {
	err := g.change(func(s *socket) error {
		if err := checkIndices([]int{index}); err != nil {
			return err
		}
		return s.commit(elements(msgDestroyElement, []int{index})...)
	})
	if err != nil {
		return fmt.Errorf("shut the gate to the device with index %d: %w", index, err)
	}
	return nil
}

// SetAdmitted opens the gate to these devices and to no others, in one transaction. Those that stay
// admitted are not touched. If the gate is gone, it is made anew.
func (g *Gate) SetAdmitted(indices []int) error {
	err := g.change(func(s *socket) error {
		if err := checkIndices(indices); err != nil {
			return err
		}
		members, err := s.members()
		if errors.Is(err, unix.ENOENT) {
			return g.install(indices)
		}
		if err != nil {
			return err
		}
		wanted := unique(indices)
		// Out before in, or a full set would have no room.
		messages := append(elements(msgDestroyElement, without(members, wanted)),
			elements(unix.NFT_MSG_NEWSETELEM, without(wanted, members))...)
		if len(messages) == 0 {
			return nil
		}
		return s.commit(messages...)
	})
	if err != nil {
		return fmt.Errorf("set what the gate admits: %w", err)
	}
	return nil
}

// Admitted reads which indices the gate admits, in ascending order.
func (g *Gate) Admitted() ([]int, error) {
	var members []int
	err := g.change(func(s *socket) (err error) {
		members, err = s.members()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what the gate admits: %w", err)
	}
	slices.Sort(members)
	return members, nil
}

// Shutouts reads what the gate has dropped.
func (g *Gate) Shutouts() (Shutouts, error) {
	var counts Shutouts
	err := g.change(func(s *socket) (err error) {
		for _, h := range []hook{ingress, egress} {
			if *counts.at(h), err = s.count(h); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return counts, fmt.Errorf("read what the gate has dropped: %w", err)
	}
	return counts, nil
}

// Close gives the gate up. Without remove it stays in force, without an owner, as it does when the
// process ends.
func (g *Gate) Close(remove bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.socket == nil {
		return nil
	}
	var err error
	if remove {
		err = g.socket.refused(g.socket.commit(removal()))
	}
	g.socket.close()
	g.socket = nil
	if err != nil {
		return fmt.Errorf("remove the gate: %w", err)
	}
	return nil
}

// Remove takes away the gate of the calling thread's network namespace, if there is one that nobody
// owns. If a process does, the error is a *HeldError. A kernel that could not hold a gate has none.
func Remove() error {
	s, err := dial()
	if err == nil {
		defer s.close()
		if _, ownerErr := s.owner(); errors.Is(ownerErr, unix.ENOENT) {
			return nil
		}
		err = s.refused(s.commit(removal()))
	}
	if unsupported := (*UnsupportedError)(nil); errors.As(explain(err), &unsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the gate: %w", explain(err))
	}
	return nil
}

// change runs do with the socket, alone.
func (g *Gate) change(do func(*socket) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.socket == nil {
		return errClosed
	}
	err := do(g.socket)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the gate is gone: %w", err)
	}
	return explain(err)
}

// checkIndices refuses what is no index, before anything is done.
func checkIndices(indices []int) error {
	for _, index := range indices {
		if index <= 0 || int64(index) > 1<<31-1 {
			return fmt.Errorf("%d is no interface index", index)
		}
	}
	return nil
}

func unique(indices []int) []int {
	sorted := slices.Sorted(slices.Values(indices))
	return slices.Compact(sorted)
}

// without gives the indices that are not among others.
func without(indices, others []int) []int {
	known := map[int]bool{}
	for _, index := range others {
		known[index] = true
	}
	return slices.DeleteFunc(slices.Clone(indices), func(index int) bool { return known[index] })
}
