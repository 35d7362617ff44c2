package conntrack

import (
	"errors"
	"iter"
	"maps"

	"tapgate/internal/packet"
)

// Config is what can be set about a Table.
type Config struct {
	// PickUp lets a TCP packet from the middle of a connection open an entry
	// (nf_conntrack_tcp_loose). Otherwise only a SYN does.
	PickUp bool
	// MaxConnections is the port's quota, 0 for none. Expired entries count
	// until they are swept.
	MaxConnections int
	// Services says which helpers read which connections, at most MaxServices;
	// nil for DefaultServices.
	Services []Service
}

// ErrTableFull is returned for a packet that would open one connection more
// than the quota allows. The packet is to be dropped.
var ErrTableFull = errors.New("no room for a new connection")

// ErrRace is returned for a packet whose connection another packet opened
// between its classification and its commit, where the two cannot be joined.
// The packet is to be dropped.
var ErrRace = errors.New("another packet opened the connection first")

// Table holds the connections of one port. It is not safe for concurrent use.
type Table struct {
	// Expect, if set, is asked about each packet that would open a
	// connection: true if a helper announced it. Asking consumes the
	// announcement. Without it connections have no helpers.
	Expect func(*packet.Packet) (Announced, bool)

	config      Config
	connections map[Key]*Connection
}

// NewTable returns an empty table.
func NewTable(config Config) *Table {
	if config.Services == nil {
		config.Services = DefaultServices()
	}
	return &Table{config: config, connections: map[Key]*Connection{}}
}

// Pending is what Classify leaves for Commit: the connection that the packet
// opens, if all rules accept it, or the one that it belongs to.
type Pending struct {
	connection *Connection
	known      *Connection
	now        int64
}

// Classify sets the packet's State and Direction as of p.Now and updates the
// connection that it belongs to. Packets that the network stage does not see
// have no state. Later fragments must not be handed in: they share the state of
// their first fragment.
//
// Commit must be called with the result unless a rule drops the packet.
func (t *Table) Classify(p *packet.Packet) *Pending {
	p.State, p.Direction = 0, 0
	if p.Family == 0 {
		return &Pending{}
	}
	p.State = packet.StateInvalid
	if p.Have&packet.HaveLinkProto == 0 {
		return &Pending{}
	}
	if p.LinkProto == packet.ProtoICMP || p.LinkProto == packet.ProtoICMPv6 {
		return t.classifyICMP(p)
	}
	key, e, ok := packetKey(p)
	if !ok {
		return &Pending{}
	}
	valid := wellFormed(p)
	if c := t.lookup(key, p.Now); c != nil {
		if !valid {
			return &Pending{}
		}
		if !t.known(c, p, e) {
			return &Pending{known: c}
		}
		c.Expires = 0
	}
	return t.open(key, e, p, valid)
}

// lookup finds a live connection.
func (t *Table) lookup(key Key, now int64) *Connection {
	if c := t.connections[key]; c != nil && c.live(now) {
		return c
	}
	return nil
}

// known judges a packet of a live connection. The result is true if the packet
// ends the connection and may open another.
func (t *Table) known(c *Connection, p *packet.Packet, e ends) (reopens bool) {
	dir := c.direction(e)
	state := c.stateOf(dir)
	switch c.Proto {
	case packet.ProtoTCP:
		verdict := c.tcpPacket(p, dir)
		if verdict == tcpInvalid || verdict == tcpReopen {
			return verdict == tcpReopen
		}
	case packet.ProtoSCTP:
		if c.sctpPacket(p, dir) == sctpInvalid {
			return false
		}
	default:
		c.refresh(p.Now)
	}
	if dir == reply {
		c.SeenReply = true
	}
	c.count(p, dir)
	p.State, p.Direction = state, packet.Original<<dir
	return false
}

// open judges a packet without a connection.
func (t *Table) open(key Key, e ends, p *packet.Packet, valid bool) *Pending {
	// An announcement is used up even by a packet that turns out invalid.
	c := &Connection{Key: key, OriginB: e == fromB, Created: p.Now}
	if t.Expect != nil {
		if c.Announced, c.Expected = t.Expect(p); c.Expected {
			c.Helper = c.Announced.Reader
		} else {
			c.Helper = t.helperOf(p)
		}
	}
	if !valid {
		return &Pending{}
	}
	opens := true
	switch key.Proto {
	case packet.ProtoTCP:
		opens = c.openTCP(p, t.config.PickUp)
	case packet.ProtoSCTP:
		opens = c.openSCTP(p)
	default:
		c.refresh(p.Now)
	}
	if !opens {
		return &Pending{}
	}
	c.count(p, original)
	p.State, p.Direction = c.stateOf(original), packet.Original
	return &Pending{connection: c, now: p.Now}
}

// Commit puts the connection that a packet opens into the table. The errors
// are ErrTableFull and ErrRace.
func (t *Table) Commit(pending *Pending) error {
	c := pending.connection
	if c == nil {
		return nil
	}
	switch old := t.connections[c.Key]; {
	case old == nil:
		if t.config.MaxConnections > 0 && len(t.connections) >= t.config.MaxConnections {
			return ErrTableFull
		}
	case old.live(pending.now):
		// Two first packets of one flow, both judged before either was
		// committed: the second joins the first.
		if c.Proto == packet.ProtoTCP || c.Proto == packet.ProtoSCTP {
			return ErrRace
		}
		dir := original
		if c.OriginB != old.OriginB {
			dir = reply
		}
		old.Packets[dir] += c.Packets[original]
		old.Bytes[dir] += c.Bytes[original]
		return nil
	}
	t.connections[c.Key] = c
	return nil
}

// Sweep removes the entries that ended a while before now.
func (t *Table) Sweep(now int64) {
	maps.DeleteFunc(t.connections, func(_ Key, c *Connection) bool {
		return !c.live(now - sweepGrace)
	})
}

// Len is the number of entries, expired ones until they are swept.
func (t *Table) Len() int { return len(t.connections) }

// All yields the connections that are live at now, in no order. The caller
// must not change them.
func (t *Table) All(now int64) iter.Seq[*Connection] {
	return func(yield func(*Connection) bool) {
		for _, c := range t.connections {
			if c.live(now) && !yield(c) {
				return
			}
		}
	}
}
