package datapath

import (
	"fmt"
	"strconv"
	"time"

	"github.com/cilium/ebpf"

	"tapgate/internal/device"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
)

// Meta is what the caller of Guard tells of a binding beside its policy.
type Meta struct {
	// Parameters of the binding, for people to read.
	Parameters map[string][]string `json:"parameters,omitempty"`
	// BoundAt is the time of the call.
	BoundAt time.Time `json:"bound_at"`
	// Settings of the port; those that are left out have their defaults.
	Settings settings.Values `json:"settings,omitempty"`
	// Digest names all that the caller derived the policy from, for the caller to
	// tell whether the port enforces what it should. It may be empty.
	Digest string `json:"digest,omitempty"`
	// Learning is set where the guest's addresses are learned.
	Learning *Learning `json:"learning,omitempty"`
}

// Learning tells how a port's addresses are learned, and how far that is.
type Learning struct {
	// Mode is any or dhcp.
	Mode string `json:"mode"`
	// Wants are the variables whose values are learned, Waiting those of them that
	// have none yet.
	Wants   []string `json:"wants"`
	Waiting []string `json:"waiting,omitempty"`
	// Restricted is set while nothing passes but what teaches, since no address of
	// either family is known.
	Restricted bool `json:"restricted,omitempty"`
	// Offered is set while an address is merely offered to the guest.
	Offered bool `json:"offered,omitempty"`
}

// Binding describes what a port enforces. It is pinned beside the programs, so
// that they can be understood without anything else.
type Binding struct {
	Meta
	Port   string `json:"port"`
	Filter string `json:"filter"`
	MAC    string `json:"mac"`
	// Number is the key of the port's connections.
	Number uint32 `json:"number"`
	// Ifindex, Kind and Namespace are those of the device when it was bound.
	Ifindex   int    `json:"ifindex"`
	Kind      string `json:"kind"`
	Namespace uint64 `json:"namespace"`
	// Skeleton is the directory of the skeleton's version that the programs hand
	// over to, State that of the maps that the port shares with others.
	Skeleton string `json:"skeleton"`
	State    string `json:"state"`
	// Features are what the policy asks of the skeleton.
	Features []string `json:"features,omitempty"`
	Clauses  []Clause `json:"clauses"`
	// Sets are the kernel sets that the policy names, in the order of their
	// maps.
	Sets []SetUse `json:"sets,omitempty"`
}

// Clause describes a clause of a policy.
type Clause struct {
	ID int `json:"id"`
	// Name stays while the clause does, whatever else becomes of the policy; "" if
	// nobody asks for it.
	Name      string        `json:"name,omitempty"`
	Direction string        `json:"direction"`
	Stage     string        `json:"stage"`
	Chain     string        `json:"chain,omitempty"`
	Text      string        `json:"text"`
	Comment   string        `json:"comment,omitempty"`
	Mirrored  bool          `json:"mirrored,omitempty"`
	Origin    policy.Origin `json:"origin"`
}

var stageNames = map[nwfilter.Stage]string{nwfilter.LinkStage: "link", nwfilter.NetworkStage: "network"}

// describe fills in what does not depend on what is pinned already.
func describe(p *policy.Policy, meta Meta, dev device.Device) Binding {
	b := Binding{
		Meta:      meta,
		Port:      dev.Name,
		Filter:    p.Filter,
		MAC:       p.MAC.String(),
		Ifindex:   dev.Index,
		Kind:      dev.Kind,
		Namespace: dev.Namespace,
		Clauses:   make([]Clause, len(p.Clauses)),
	}
	for _, feature := range []struct {
		used bool
		name string
	}{
		{p.Facts.Tracked(), "connections"},
		{p.Facts.Related, "helpers"},
		{p.Facts.ConnLimit, "connection limits"},
		{p.Facts.TCPOptions, "tcp options"},
		{p.Facts.Reject, "reject"},
		{p.Observe != 0, "observation"},
		{p.Facts.Discovery, "neighbour discovery"},
	} {
		if feature.used {
			b.Features = append(b.Features, feature.name)
		}
	}
	for _, d := range policy.Directions {
		for stage, name := range stageNames {
			for c := range p.List(d, stage).All {
				b.Clauses[c.ID] = Clause{
					ID: c.ID, Direction: d.String(), Stage: name, Chain: c.Chain,
					Text: c.String(), Comment: c.Comment, Mirrored: c.Mirrored, Origin: c.Origin,
				}
			}
		}
	}
	if p.Facts.Tracked() {
		for id, name := range p.ClauseNames() {
			b.Clauses[id].Name = nameText(name)
		}
	}
	return b
}

// nameText is a clause's name as it is written: JSON's numbers are too short.
func nameText(name uint64) string { return fmt.Sprintf("%016x", name) }

func nameNumber(text string) (name uint64, ok bool) {
	name, err := strconv.ParseUint(text, 16, 64)
	return name, err == nil
}

// nameClauses tells the programs the names of the policy's clauses.
func nameClauses(maps map[string]*ebpf.Map, p *policy.Policy) error {
	if !p.Facts.Tracked() || len(p.Clauses) == 0 {
		return nil
	}
	keys := make([]uint32, len(p.Clauses))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := maps[namesMap].BatchUpdate(keys, p.ClauseNames(), nil); err != nil {
		return fmt.Errorf("name the policy's clauses: %w", err)
	}
	return nil
}

// clauseKey is what makes a clause the same in two policies.
type clauseKey struct {
	direction, stage, filter, text string
	line                           int
	// occurrence numbers clauses that are alike in all of this: a filter may
	// be referenced more than once.
	occurrence int
}

// keys gives the identity of each clause.
func (b *Binding) keys() []clauseKey {
	seen := map[clauseKey]int{}
	keys := make([]clauseKey, len(b.Clauses))
	for i, c := range b.Clauses {
		key := clauseKey{
			direction: c.Direction, stage: c.Stage, filter: c.Origin.Filter,
			text: c.Text, line: c.Origin.Pos.Line,
		}
		seen[key]++
		keys[i] = key
		keys[i].occurrence = seen[key]
	}
	return keys
}
