/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Who gets a place in a port's quota. Mirrors internal/conntrack/admission.go,
 * where the reasons are.
 */
#ifndef TAPGATE_ADMISSION_H
#define TAPGATE_ADMISSION_H

#include "queue.h"

#define GIVE_UP_TRIES	1024	/* tickets that a packet looks at for a place */
#define CATCH_UP_TRIES	2	/* and otherwise, so that this many suffice */
#define YOUNG_TICKETS	64	/* perhaps taken but not entered yet */

/* One packet's look at the queue. */
struct walk {
	struct port *port;
	__u64 now;
	struct ticket ticket;
	struct conn_key key;
	__u32 wanted;	/* a place */
	__u32 found;
};

/*
 * Gives up the connection that has the ticket. Its key was copied while another
 * CPU may have deleted the entry: only one that has this ticket is the right one.
 */
static __always_inline bool conn_give_up(struct walk *w)
{
	__u32 tag = conn_tag(&w->key);
	void *shard = conn_shard(tag);
	struct conn_lock *lock = conn_lock(tag);
	bool spare, expired = false, expected = false;
	struct connection *c;

	if (!shard || !lock || w->key.port != w->ticket.port)
		return false;
	c = bpf_map_lookup_elem(shard, &w->key);
	if (!c)
		return false;
	bpf_spin_lock(&lock->lock);
	spare = c->tag == tag && c->flow.ticket == w->ticket.number && flow_spare(&c->flow);
	if (spare) {
		c->tag = 0;
		expired = c->flow.expires <= w->now;
		expected = c->flow.flags & CONN_EXPECTED;
	}
	bpf_spin_unlock(&lock->lock);
	if (!spare)
		return false;
	if (expected)
		bpf_map_delete_elem(&related, &w->key);
	bpf_map_delete_elem(shard, &w->key);
	queue_leave(w->port, w->ticket.port, w->ticket.number);
	__sync_fetch_and_add(expired ? &w->port->expired : &w->port->given_up, 1);
	return true;
}

/* Looks at the oldest ticket; 1 ends the walk. */
static long queue_step(__u32 i, struct walk *w)
{
	struct port *port = w->port;
	__u32 passed = READ_ONCE(port->passed);
	__u32 ahead = READ_ONCE(port->tickets) - passed;
	struct conn_key *key;

	if (ahead <= (w->wanted ? 0 : YOUNG_TICKETS))
		return 1;
	w->ticket.number = passed + 1;
	key = bpf_map_lookup_elem(&queue, &w->ticket);
	if (key && !w->wanted)
		return 1;
	if (__sync_val_compare_and_swap(&port->passed, passed, passed + 1) != passed)
		return 0; /* another CPU has this one */
	if (!key)
		return 0;
	w->key = *key;
	w->found = conn_give_up(w);
	return w->found;
}

static __noinline bool queue_walk(struct port *port, struct track *t, __u64 now, bool wanted)
{
	struct walk w = { .port = port, .now = now, .ticket.port = t->key.port, .wanted = wanted };

	bpf_loop(wanted ? GIVE_UP_TRIES : CATCH_UP_TRIES, queue_step, &w, 0);
	return w.found;
}

/* Takes a place of the port's quota for the connection that the packet opens. */
static __always_inline bool port_admit(struct port *port, struct packet *p, struct track *t)
{
	const struct config *config = config_of(p);
	__u32 quota = config ? config->max_connections : 0, reserve = quota / 4, queued = READ_ONCE(port->queued);
	__u32 room = quota, kept = 0;

	if (p->link_proto != PROTO_TCP) {
		kept = reserve;
		room = quota - reserve + (queued < reserve ? queued : reserve);
	}
	if (__sync_fetch_and_add(&port->connections, 1) < room)
		return true;
	__sync_fetch_and_add(&port->connections, -1);
	return queued > kept && queue_walk(port, t, p->now, true);
}

#endif
