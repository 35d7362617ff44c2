package conntrack

import (
	"slices"

	"tapgate/internal/packet"
)

// maxLimitsMet is how many limits may count the connection that one packet
// opens.
const maxLimitsMet = 16

// limitSource names a count: a limit and the address whose connections it
// counts.
type limitSource struct {
	limit  uint64
	family uint8
	source packet.U128
}

// counted is a place of a count and the connection that has it. One that ended
// leaves its place to the next.
type counted struct {
	key     Key
	created int64
	// pending until the packet that opens the connection has met its fate.
	pending bool
}

// Limits count, for each limit and source address, the live connections that
// the source opened and the limit saw. A connection does not count any more
// when it has expired or its TCP state is TIME_WAIT or CLOSE.
//
// A count remembers one connection more than the limit allows: that many tell
// that it is exceeded. Mirrored by limit.h.
type Limits struct {
	table  *Table
	counts map[limitSource][]counted
	places int
	met    []limitSource // counts that hold the connection that the packet opens
}

// NewLimits returns counts of the table's connections.
func NewLimits(t *Table) *Limits {
	return &Limits{table: t, counts: map[limitSource][]counted{}}
}

// Exceeds tells whether the packet's source has more than above connections,
// the packet's own included if the source opened it. pending is what Classify
// returned for the packet. The error is ErrTableFull if the connection cannot
// be counted: the packet is to be dropped. Settle must follow.
func (l *Limits) Exceeds(p *packet.Packet, pending *Pending, limit, above uint64) (bool, error) {
	name := limitSource{limit, p.Family, p.SrcIP}
	places := l.counts[name]
	own, opens := l.own(p, pending)
	live, free, found := uint64(0), -1, false
	for i := range places {
		c := &places[i]
		switch {
		case own != nil && !found && c.key == own.Key && c.created == own.Created:
			found = true
			live++
		case c.pending || l.stillCounts(c, p.Now):
			live++
		case free < 0:
			free = i
		}
		if live > above {
			return true, nil
		}
	}
	if own == nil || found {
		return false, nil
	}
	if opens && len(l.met) == maxLimitsMet {
		return false, ErrTableFull
	}
	entry := counted{own.Key, own.Created, opens}
	if free >= 0 {
		places[free] = entry
	} else {
		if most := l.table.config.MaxConnections; most > 0 && l.places >= most {
			return false, ErrTableFull
		}
		l.places++
		l.counts[name] = append(places, entry)
	}
	if opens {
		l.met = append(l.met, name)
	}
	return live+1 > above, nil
}

// own is the connection of the packet if its source opened it and it counts;
// opens tells that it is not in the table yet.
func (l *Limits) own(p *packet.Packet, pending *Pending) (c *Connection, opens bool) {
	switch {
	case pending == nil || p.Direction != packet.Original:
		return nil, false
	case pending.connection != nil:
		return pending.connection, true
	case pending.known != nil && pending.known.counts(p.Now):
		return pending.known, false
	}
	return nil, false
}

// stillCounts tells whether the connection at a place still counts.
func (l *Limits) stillCounts(c *counted, now int64) bool {
	known := l.table.lookup(c.key, now)
	return known != nil && known.Created == c.created && known.counts(now)
}

func (c *Connection) counts(now int64) bool {
	return c.live(now) && !(c.Proto == packet.ProtoTCP && (c.TCP.State == TimeWait || c.TCP.State == Close))
}

// Settle ends what Exceeds began for a packet: what it opens has its places if
// it passed, and gives them back if not.
func (l *Limits) Settle(passed bool) {
	for _, name := range l.met {
		i := slices.IndexFunc(l.counts[name], func(c counted) bool { return c.pending })
		l.counts[name][i].pending = false
		if !passed {
			l.counts[name][i].created = 0
			l.counts[name][i].key = Key{}
		}
	}
	l.met = l.met[:0]
}
