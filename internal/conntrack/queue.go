package conntrack

import "tapgate/internal/packet"

// queue holds the connections that may be given up, by tickets in the order in
// which they were taken. A connection that leaves it leaves a gap. Mirrored by
// queue.h.
type queue struct {
	tickets uint32 // the newest one
	passed  uint32 // tickets up to this one are out of the queue
	keys    map[uint32]Key
}

// spare tells whether a connection may be given up when the quota is full: a
// TCP connection whose opening is not complete, which costs its hosts a
// repetition at most, or one that is over and waits for stray packets.
func (c *Connection) spare() bool {
	return c.Proto == packet.ProtoTCP && (!c.Assured || c.TCP.State == TimeWait || c.TCP.State == Close)
}

// requeue lets a connection in the table join or leave the queue.
func (t *Table) requeue(c *Connection) {
	switch spare := c.spare(); {
	case spare && c.ticket == 0:
		t.queue.join(c)
	case !spare:
		t.queue.leave(c)
	}
}

func (q *queue) join(c *Connection) {
	q.tickets++
	if q.tickets == 0 { // after 2³²
		q.tickets++
	}
	c.ticket = q.tickets
	q.keys[c.ticket] = c.Key
}

func (q *queue) leave(c *Connection) {
	delete(q.keys, c.ticket)
	c.ticket = 0
}
