package datapath

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
)

// Observed counts frames of a port that were to be copied to whoever learns the
// guest's addresses, since the port began to be observed by this version.
type Observed struct {
	// In are messages of DHCP, DHCPv6 and neighbour discovery to the guest, Out
	// those from it.
	In  ObservedCounts `json:"in,omitzero"`
	Out ObservedCounts `json:"out,omitzero"`
	// Claims are what the guest sent otherwise, and was dropped.
	Claims ObservedCounts `json:"claims,omitzero"`
}

// ObservedCounts are frames of one kind.
type ObservedCounts struct {
	// Told were copied.
	Told uint64 `json:"told,omitzero"`
	// Limited were not: beyond 10 a second, or 50 at once.
	Limited uint64 `json:"limited,omitzero"`
	// Lost were not, because too many others were still to be read.
	Lost uint64 `json:"lost,omitzero"`
}

// observedMap has what programs count and limit, by port number.
const observedMap = "observed"

// observedPort mirrors struct observed.
type observedPort struct{ Full, Told, Limited, Lost [observedClasses]uint64 }

// The classes of enum observed_class.
const (
	observedIn = iota
	observedOut
	observedClaim
	observedClasses
)

func (o *observedPort) counts() Observed {
	of := func(class int) ObservedCounts {
		return ObservedCounts{o.Told[class], o.Limited[class], o.Lost[class]}
	}
	return Observed{In: of(observedIn), Out: of(observedOut), Claims: of(observedClaim)}
}

// openObserved makes the entry without which a port is not observed, unless it is
// there.
func openObserved(observed *ebpf.Map, number uint32) error {
	err := observed.Update(number, &observedPort{}, ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("observe port number %d: %w", number, err)
	}
	return nil
}

func closeObserved(observed *ebpf.Map, number uint32) error {
	if err := observed.Delete(number); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("stop observing port number %d: %w", number, err)
	}
	return nil
}

// countObserved reads what was counted of a binding's port; the caller holds the
// port's lock.
func (h *Host) countObserved(b *Binding) (Observed, error) {
	c, err := h.common(b.Skeleton)
	if errors.Is(err, fs.ErrNotExist) {
		return Observed{}, nil
	}
	if err != nil {
		return Observed{}, err
	}
	defer c.close()
	var port observedPort
	if m := c.maps[observedMap]; m != nil {
		if err := m.Lookup(b.Number, &port); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return Observed{}, fmt.Errorf("count what was observed: %w", err)
		}
	}
	return port.counts(), nil
}
