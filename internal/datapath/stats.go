package datapath

import (
	"context"

	"tapgate/internal/policy"
)

// Stats are the counters of a port. They live on when its policy is changed;
// a rule that is new or different then begins at 0.
type Stats struct {
	Port
	Clauses []ClauseStats `json:"clauses"`
	// Refused counts connections for which there was no room,
	// GivenUp those that made room for others before their end, and Expired
	// those that were removed after it.
	Refused uint64 `json:"refused"`
	GivenUp uint64 `json:"given_up"`
	Expired uint64 `json:"expired"`
	// Quota bounds the port's connections.
	Quota uint32 `json:"quota"`
	// Table is how full the table is that all ports share.
	Table TableUse `json:"table"`
	// InAnswers and OutAnswers are what rejected packets of a direction were
	// answered with.
	InAnswers  Answers `json:"in_answers"`
	OutAnswers Answers `json:"out_answers"`
}

// ClauseStats are a clause and the packets that it decided, or counted on
// their way.
type ClauseStats struct {
	Clause
	Counter
}

// Stats reads the counters of a port.
func (h *Host) Stats(ctx context.Context, port string) (*Stats, error) {
	stats := &Stats{}
	err := h.read(ctx, port, func(s *portState, g *generation) error {
		var err error
		if stats.Port, err = h.describePort(s, g); err != nil {
			return err
		}
		c, err := countsOf(s.upTo(g))
		if err != nil {
			return err
		}
		for i, clause := range g.binding.Clauses {
			stats.Clauses = append(stats.Clauses, ClauseStats{clause, c.Clauses[i]})
		}
		entry, err := h.readEntry(&g.binding)
		if err != nil {
			return err
		}
		stats.InAnswers, stats.OutAnswers = entry.Answers[policy.In].Answers, entry.Answers[policy.Out].Answers
		stats.Refused = entry.Refused
		stats.GivenUp, stats.Expired = entry.GivenUp, entry.Expired
		stats.Quota = g.binding.Settings.Settings().MaxConnections
		stats.Table, err = h.tableUse(&g.binding)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stats, nil
}
