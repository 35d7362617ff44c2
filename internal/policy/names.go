package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"tapgate/nwfilter"
)

// ClauseNames gives each clause, by its ID, a name made of what makes a clause
// the same in two policies: where it stands, and its text. 0 names none.
func (p *Policy) ClauseNames() []uint64 {
	if p.names == nil {
		return p.nameClauses()
	}
	return p.names
}

func (p *Policy) nameClauses() []uint64 {
	names := make([]uint64, len(p.Clauses))
	seen := map[[sha256.Size]byte]uint64{}
	for _, d := range Directions {
		for _, stage := range []nwfilter.Stage{nwfilter.LinkStage, nwfilter.NetworkStage} {
			for c := range p.List(d, stage).All {
				sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s\n%d\n%s", d, stage, c.Origin.Filter, c.Origin.Pos.Line, c))
				// A filter may be referenced more than once.
				names[c.ID] = (binary.BigEndian.Uint64(sum[:]) + seen[sum]) | 1
				seen[sum] += 2
			}
		}
	}
	return names
}
