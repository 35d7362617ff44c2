package conntrack

import "tapgate/internal/packet"

const (
	// giveUpTries bounds the tickets that a packet looks at for a place. Most of
	// the gaps are gone by then, since each new TCP connection looks at
	// catchUpTries of them, except among the youngTickets that other CPUs may
	// have taken and not entered yet.
	giveUpTries  = 1024
	catchUpTries = 2
	youngTickets = 64
)

// admit takes a place of the quota for a new connection, if need be that of the
// oldest connection in the queue.
//
// A quarter of the quota is kept for TCP's openings: whoever fills the rest with
// datagrams or pings cannot keep TCP out, and a flood of SYNs, which gives up
// its own, takes only that quarter from the others. Mirrored by admission.h.
func (t *Table) admit(proto uint8) bool {
	quota, queued := t.config.MaxConnections, len(t.queue.keys)
	if quota == 0 {
		return true
	}
	room, kept := quota, 0
	if proto != packet.ProtoTCP {
		kept = quota / 4
		room = quota - kept + min(queued, kept)
	}
	return len(t.connections) < room || queued > kept && t.giveUp()
}

// giveUp removes the oldest connection in the queue.
func (t *Table) giveUp() bool {
	q := &t.queue
	for range giveUpTries {
		if q.passed == q.tickets {
			break
		}
		q.passed++
		if key, ok := q.keys[q.passed]; ok {
			q.leave(t.connections[key])
			delete(t.connections, key)
			return true
		}
	}
	return false
}

// catchUp passes gaps at the queue's head.
func (q *queue) catchUp() {
	for range catchUpTries {
		if _, ok := q.keys[q.passed+1]; ok || q.tickets-q.passed <= youngTickets {
			break
		}
		q.passed++
	}
}
