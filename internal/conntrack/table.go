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
	// until they are swept. When it is full, openings of TCP connections and
	// connections that are over give way to new ones, oldest first.
	MaxConnections int
	// Services says which helpers read which connections, at most MaxServices;
	// nil for DefaultServices.
	Services []Service
	// Timeouts of the port; DefaultTimeouts if zero.
	Timeouts Timeouts
}

// ErrTableFull is returned for a packet that would open one connection more
// than the quota allows, where none can be given up. The packet is to be dropped.
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
	queue       queue
}

// NewTable returns an empty table.
func NewTable(config Config) *Table {
	if config.Services == nil {
		config.Services = DefaultServices()
	}
	config.Timeouts = config.Timeouts.OrDefault()
	return &Table{config: config, connections: map[Key]*Connection{}, queue: queue{keys: map[uint32]Key{}}}
}

// Pending is what Classify leaves for Commit: the connection that the packet
// opens, if all rules accept it, or the one that it belongs to.
type Pending struct {
	connection *Connection
	known      *Connection
	now        int64
}

// Admit names the clause because of which the packet's connection, if it opens
// one, may be committed.
func (p *Pending) Admit(clause uint64) {
	if p.connection != nil {
		p.connection.Admitted = clause
	}
}

// Classify sets the packet's State and Direction as of p.Now and updates the
// connection that it belongs to. Packets that the network stage does not see
// have no state. Later fragments must not be handed in: they share the state of
// their first fragment.
//
// Commit must be called with the result unless a rule drops the packet.
func (t *Table) Classify(p *packet.Packet) *Pending {
	p.State, p.Direction, p.Invalid = 0, 0, packet.NotInvalid
	if p.Family == 0 {
		return &Pending{}
	}
	if p.Have&packet.HaveLinkProto == 0 {
		return invalidate(p, packet.InvalidHeader)
	}
	if p.LinkProto == packet.ProtoICMP || p.LinkProto == packet.ProtoICMPv6 {
		return t.classifyICMP(p)
	}
	key, e, fault := packetKey(p)
	if fault != packet.NotInvalid {
		return invalidate(p, fault)
	}
	fault = headerFault(p)
	if c := t.lookup(key, p.Now); c != nil {
		if fault != packet.NotInvalid {
			return invalidate(p, fault)
		}
		if !t.known(c, p, e) {
			return &Pending{known: c}
		}
		c.Expires = p.Now
	}
	return t.open(key, e, p, fault)
}

// invalidate judges a packet that belongs to no connection and opens none.
func invalidate(p *packet.Packet, why packet.Invalid) *Pending {
	p.State, p.Invalid = packet.StateInvalid, why
	return &Pending{}
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
		verdict, fault := c.tcpPacket(p, dir, &t.config.Timeouts)
		t.requeue(c)
		if verdict == tcpInvalid {
			invalidate(p, fault)
		}
		if verdict == tcpInvalid || verdict == tcpReopen {
			return verdict == tcpReopen
		}
	case packet.ProtoSCTP:
		if verdict, fault := c.sctpPacket(p, dir, &t.config.Timeouts); verdict == sctpInvalid {
			invalidate(p, fault)
			return false
		}
	default:
		c.refresh(p.Now, &t.config.Timeouts)
	}
	if dir == reply {
		c.SeenReply = true
	}
	c.count(p, dir)
	p.State, p.Direction = state, packet.Original<<dir
	return false
}

// open judges a packet without a connection, whose header may have a fault.
func (t *Table) open(key Key, e ends, p *packet.Packet, fault packet.Invalid) *Pending {
	// An announcement is used up even by a packet that turns out invalid.
	c := &Connection{Key: key, OriginB: e == fromB, Out: p.Out, Created: p.Now}
	if t.Expect != nil {
		if c.Announced, c.Expected = t.Expect(p); c.Expected {
			c.Helper = c.Announced.Reader
		} else {
			c.Helper = t.helperOf(p)
		}
	}
	if fault != packet.NotInvalid {
		return invalidate(p, fault)
	}
	switch key.Proto {
	case packet.ProtoTCP:
		if !c.openTCP(p, &t.config) {
			return invalidate(p, packet.InvalidTCPOpening)
		}
	case packet.ProtoSCTP:
		if !c.openSCTP(p, &t.config.Timeouts) {
			return invalidate(p, packet.InvalidSCTPOpening)
		}
	default:
		c.refresh(p.Now, &t.config.Timeouts)
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
		if !t.admit(c.Proto) {
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
	default: // an expired entry has its place already
		t.queue.leave(old)
	}
	t.connections[c.Key] = c
	t.requeue(c)
	if c.Proto == packet.ProtoTCP {
		t.queue.catchUp()
	}
	return nil
}

// Sweep removes the entries that ended a while before now.
func (t *Table) Sweep(now int64) {
	maps.DeleteFunc(t.connections, func(_ Key, c *Connection) bool {
		ended := !c.live(now - sweepGrace)
		if ended {
			t.queue.leave(c)
		}
		return ended
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
