/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* How a packet's connection gets into the table. Mirrors Commit in
 * internal/conntrack/table.go. */
#ifndef TAPGATE_COMMIT_H
#define TAPGATE_COMMIT_H

#include "admission.h"

/* Makes an entry. Returns 0, or why there is none. */
static __always_inline int conn_insert(struct packet *p, struct track *t, struct port *port, void *shard)
{
	struct flow *f = &t->fresh.flow;
	long error;

	if (!port_admit(port, p, t))
		goto refused;
	if (p->link_proto == PROTO_TCP)
		f->ticket = queue_join(port, &t->key);
	error = bpf_map_update_elem(shard, &t->key, &t->fresh, BPF_NOEXIST);
	if (!error) {
		__sync_fetch_and_add(&port->opened, 1);
		if (features.helpers)
			expectation_note(t, 0);
		return 0;
	}
	queue_leave(port, t->key.port, f->ticket);
	__sync_fetch_and_add(&port->connections, -1);
	if (error == -EEXIST)
		return REASON_RACE;
refused:
	__sync_fetch_and_add(&port->refused, 1);
	return REASON_TABLE_FULL;
}

/*
 * An expired entry has its place already and serves again. In a live one
 * another CPU was first: all but TCP and SCTP may join it.
 */
static __always_inline int conn_reuse(struct packet *p, struct track *t, struct port *port, struct connection *c)
{
	struct conn_lock *lock = conn_lock(t->fresh.tag);
	bool tcp = p->link_proto == PROTO_TCP, joins = false;
	struct flow *f = &t->fresh.flow;
	__u32 left, flags_before = 0;
	int result = REASON_RACE;

	if (!lock)
		return REASON_INTERNAL;
	if (tcp && conn_live(c, t->fresh.tag, p->now))
		return REASON_RACE;
	if (tcp)
		f->ticket = queue_join(port, &t->key);
	left = f->ticket;
	bpf_spin_lock(&lock->lock);
	if (c->tag == t->fresh.tag) {
		if (p->now >= c->flow.expires) {
			left = c->flow.ticket;
			flags_before = c->flow.flags;
			c->flow = t->fresh.flow;
			result = 0;
		} else if (!tcp && p->link_proto != PROTO_SCTP) {
			result = 0;
			joins = true;
		}
	}
	bpf_spin_unlock(&lock->lock);
	queue_leave(port, t->key.port, left);
	if (joins) {
		__u32 dir = conn_direction(READ_ONCE(c->flow.flags), t->ends);

		__sync_fetch_and_add(&c->flow.packets[dir & 1], 1);
		__sync_fetch_and_add(&c->flow.bytes[dir & 1], f->bytes[0]);
	} else if (!result) {
		__sync_fetch_and_add(&port->opened, 1);
		__sync_fetch_and_add(&port->expired, 1);
		if (features.helpers)
			expectation_note(t, flags_before);
	}
	return result;
}

/*
 * Puts the connection that the packet opens into the table. Returns 0, or why
 * the packet must be dropped.
 */
static __always_inline int conn_commit(struct packet *p, struct track *t)
{
	struct connection *c;
	int reason = REASON_RACE;
	struct port *port;
	void *shard;

	if (!t->pending)
		return 0;
	port = bpf_map_lookup_elem(&ports, &t->key.port);
	shard = conn_shard(t->fresh.tag);
	if (!port || !shard)
		return REASON_INTERNAL;
	c = bpf_map_lookup_elem(shard, &t->key);
	if (!c) {
		reason = conn_insert(p, t, port, shard);
		if (reason == REASON_RACE)
			c = bpf_map_lookup_elem(shard, &t->key);
	}
	if (c)
		reason = conn_reuse(p, t, port, c);
	if (!reason && p->link_proto == PROTO_TCP)
		queue_walk(port, t, p->now, false);
	return reason;
}

#endif
