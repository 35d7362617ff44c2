package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"tapgate/nwfilter"
)

// MaxConnLimit is the highest connlimit-above that can be enforced: each packet
// that a limit judges costs a look at every connection counted for its source.
const MaxConnLimit = 1000

// numberLimits gives the policy's limits their IDs, from what makes a clause
// the same in two policies: where it stands, and its text.
func (p *Policy) numberLimits() {
	seen := map[string]int{}
	for _, d := range Directions {
		for c := range p.List(d, nwfilter.NetworkStage).All {
			if c.ConnLimit == nil {
				continue
			}
			name := fmt.Sprintf("%s\n%s\n%d\n%s", d, c.Origin.Filter, c.Origin.Pos.Line, c)
			// A filter may be referenced more than once.
			seen[name]++
			sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d", name, seen[name]))
			c.ConnLimit.ID = binary.BigEndian.Uint64(sum[:]) | 1 // 0 is none
		}
	}
}

func (l *ConnLimit) String() string {
	not := ""
	if l.Negated {
		not = "not "
	}
	return fmt.Sprintf("%sconnections>%d", not, l.Above)
}
