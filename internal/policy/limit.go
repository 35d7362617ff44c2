package policy

import "fmt"

// MaxConnLimit is the highest connlimit-above that can be enforced: each packet
// that a limit judges costs a look at every connection counted for its source.
const MaxConnLimit = 1000

// numberLimits gives the policy's limits their IDs: the names of their clauses.
func (p *Policy) numberLimits() {
	if !p.Facts.ConnLimit {
		return
	}
	for id, name := range p.ClauseNames() {
		if limit := p.Clauses[id].ConnLimit; limit != nil {
			limit.ID = name
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
