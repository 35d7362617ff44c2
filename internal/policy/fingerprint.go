package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"tapgate/nwfilter"
)

// fingerprint is a hash of all that decides about packets: the lists with
// their order, actions and conditions; not names, lines and comments.
func (p *Policy) fingerprint() uint64 {
	f := fingerprinter{sha256.New()}
	for _, d := range Directions {
		for _, stage := range []nwfilter.Stage{nwfilter.LinkStage, nwfilter.NetworkStage} {
			items := p.List(d, stage).Items
			f.numbers(uint64(len(items)))
			for _, item := range items {
				f.item(item)
			}
		}
	}
	return binary.BigEndian.Uint64(f.Sum(nil))
}

type fingerprinter struct{ hash.Hash }

func (f fingerprinter) numbers(list ...uint64) {
	var b [64]byte
	text := b[:0]
	for _, n := range list {
		text = binary.BigEndian.AppendUint64(text, n)
	}
	f.Write(text)
}

func (f fingerprinter) item(item Item) {
	f.numbers(bit(item.Chain != nil))
	if item.Clause != nil {
		f.clause(item.Clause)
		return
	}
	f.conditions(item.Chain.Conditions)
	f.numbers(uint64(len(item.Chain.Clauses)))
	for _, c := range item.Chain.Clauses {
		f.clause(c)
	}
}

func (f fingerprinter) clause(c *Clause) {
	f.numbers(uint64(c.Action), bit(c.ConnLimit != nil), bit(c.IPSet != nil))
	f.conditions(c.Conditions)
	if l := c.ConnLimit; l != nil {
		f.numbers(l.ID, l.Above, bit(l.Negated))
	}
	if s := c.IPSet; s != nil {
		f.numbers(bit(s.Negated), uint64(len(s.Name)), uint64(len(s.Flags)))
		f.Write([]byte(s.Name + s.Flags))
	}
}

func (f fingerprinter) conditions(list []Condition) {
	f.numbers(uint64(len(list)))
	for _, c := range list {
		f.numbers(bit(c.Negated), uint64(len(c.Terms)))
		for _, t := range c.Terms {
			f.numbers(uint64(t.Field), uint64(t.Op), t.Mask.Hi, t.Mask.Lo, t.Lo.Hi, t.Lo.Lo, t.Hi.Hi, t.Hi.Lo)
		}
	}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
