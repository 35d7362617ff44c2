package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"tapgate/internal/compile"
	"tapgate/internal/ipset"
	"tapgate/internal/policy"
)

// SetUse is a kernel set that a policy looks in, with what its look-ups were
// compiled for.
type SetUse struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Family uint8  `json:"family,omitempty"` // 0: packets of both
}

// SetState is a set as the port knows it.
type SetState struct {
	SetUse
	Members int `json:"members"`
	// ReadAt is when it was last read, or found to be gone.
	ReadAt time.Time `json:"read_at"`
	// Fault is a sentence on why the set matches nothing; empty if it does.
	Fault string `json:"fault,omitempty"`
}

// setStatePin is the map with a setRecord for each of the port's sets.
const setStatePin = "set_state"

type setFault uint32

const (
	setFine setFault = iota
	setGone
	setChanged
)

func (f setFault) text(name string) string {
	switch f {
	case setGone:
		return fmt.Sprintf("the set %q is gone, so it matches nothing", name)
	case setChanged:
		return fmt.Sprintf("the set %q is of another type now, so it matches nothing; bind the port again", name)
	}
	return ""
}

type setRecord struct {
	Members uint32
	Fault   setFault
	ReadAt  int64 // nanoseconds since 1970
	// Digest of the members in the map; zero while they change.
	Digest [32]byte
}

func useSets(p *policy.Policy, sets ipset.Sets) []SetUse {
	var uses []SetUse
	for _, name := range p.SetNames() {
		uses = append(uses, SetUse{name, sets[name].Type, sets[name].Family})
	}
	return uses
}

// ReadSets reads the sets that a policy names. All must be there.
func ReadSets(p *policy.Policy) (ipset.Sets, error) {
	sets := ipset.Sets{}
	var faults []error
	for _, name := range p.SetNames() {
		set, err := ipset.Read(name)
		if err == nil {
			sets[name] = set
			continue
		}
		if c := userOf(p, name); errors.Is(err, ipset.ErrNotFound) {
			err = fmt.Errorf("%s: <%s> ipset=%q: %w; create it first", c.Origin, c.Rule.Protocol.Name, name, err)
		} else {
			err = fmt.Errorf("%s: <%s> ipset=%q: %w", c.Origin, c.Rule.Protocol.Name, name, needsRoot(err))
		}
		faults = append(faults, err)
	}
	return sets, errors.Join(faults...)
}

// userOf is the first clause that names a set.
func userOf(p *policy.Policy, name string) *policy.Clause {
	for _, c := range p.Clauses {
		if c.IPSet != nil && c.IPSet.Name == name {
			return c
		}
	}
	return nil
}

// setNotes tell of conditions that hold for no packet, or negated for all.
func setNotes(p *policy.Policy, sets ipset.Sets) []string {
	var notes []string
	seen := map[string]bool{}
	for _, c := range p.Clauses {
		if c.IPSet == nil {
			continue
		}
		set, why := sets[c.IPSet.Name], ""
		six := strings.HasSuffix(c.Rule.Protocol.Name, "v6")
		switch _, ok := set.Lookup(c.IPSet.Flags); {
		case !ok:
			why = fmt.Sprintf("has %d dimensions and ipsetflags=%q names fewer", len(set.Kinds), c.IPSet.Flags)
		case set.Family == 4 && six:
			why = "holds IPv4 addresses"
		case set.Family == 6 && !six:
			why = "holds IPv6 addresses"
		default:
			continue
		}
		note := fmt.Sprintf("%s: <%s>: no packet is in the set %q, which %s", c.Origin, c.Rule.Protocol.Name, set.Name, why)
		if !seen[note] {
			notes = append(notes, note)
		}
		seen[note] = true
	}
	return notes
}

// pinSets fills the maps of the policy's sets and pins them with their state.
func pinSets(dir string, maps map[string]*ebpf.Map, p *policy.Policy, sets ipset.Sets) error {
	names := p.SetNames()
	if len(names) == 0 {
		return nil
	}
	if err := fillSets(maps, p, sets); err != nil {
		return err
	}
	state, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: setStatePin, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(setRecord{})), MaxEntries: uint32(len(names)),
	})
	if err != nil {
		return fmt.Errorf("make map %s: %w", setStatePin, needsRoot(err))
	}
	defer state.Close()
	for i, name := range names {
		record := setRecord{Members: uint32(sets[name].Len()), ReadAt: time.Now().UnixNano(), Digest: sets[name].Digest()}
		if err := state.Put(uint32(i), &record); err != nil {
			return fmt.Errorf("note the state of the set %q: %w", name, err)
		}
		if err := maps[compile.SetMap(i)].Pin(filepath.Join(dir, compile.SetMap(i))); err != nil {
			return fmt.Errorf("pin the set %q: %w", name, err)
		}
	}
	return state.Pin(filepath.Join(dir, setStatePin))
}

// setStates reads how the sets of a generation stand.
func (g *generation) setStates() ([]SetState, error) {
	if len(g.binding.Sets) == 0 {
		return nil, nil
	}
	records, err := g.openMap(setStatePin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // taken away by somebody
	}
	if err != nil {
		return nil, fmt.Errorf("look at the port's sets: %w", err)
	}
	defer records.Close()
	states := make([]SetState, len(g.binding.Sets))
	for i, use := range g.binding.Sets {
		var r setRecord
		if err := records.Lookup(uint32(i), &r); err != nil {
			return nil, fmt.Errorf("look at the port's set %q: %w", use.Name, err)
		}
		states[i] = SetState{use, int(r.Members), time.Unix(0, r.ReadAt).UTC(), r.Fault.text(use.Name)}
	}
	return states, nil
}
