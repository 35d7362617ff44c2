//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * Removes what has expired from the connection table. A timer visits one shard
 * at each tick; entries end by themselves when they are looked up, so this only
 * frees their memory and their places in the ports' quotas.
 *
 * A timer's callback holds on to the program that set it: this program is
 * loaded once a host and never replaced by a port's change of policy.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "conntrack_types.h"
#include "conn_find.h"
#include "tcp_table.h"
#include "queue.h"

char __license[] SEC("license") = "GPL";

#define CLOCK_MONOTONIC	1
#define EBUSY		16

#define TICK		(50 * SECOND / 1000)	/* all shards in 7 s */
#define SWEEP_GRACE	(10 * SECOND)
#define REMOVALS	2048			/* a tick: each takes about 1 µs */
#define SHORT_TICK	(5 * SECOND / 1000)	/* when that was not all */

struct sweep {
	struct bpf_timer timer;
	__u32 shard;		/* the next to visit */
	__u32 pad;
	__u64 visited, removed;	/* entries since the start */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweep);
} sweep SEC(".maps");

/* Counters go on from those of struct sweep: numbers that the verifier does not
 * know, or it would follow each of them. */
struct visit {
	__u64 now;
	__u64 visited, removed;
	__u64 limit;		/* of removed */
};

/*
 * Marks the entry as being deleted if it is to go, and gives its ticket. The
 * grace after its end keeps packets away that change it without the lock: the
 * deleted entry's memory may serve another connection at once.
 */
static __always_inline bool condemn(struct connection *c, bool orphan, __u64 now, __u32 *ticket)
{
	__u32 tag = READ_ONCE(c->tag);
	struct conn_lock *lock = conn_lock(tag);
	bool gone = false;

	if (!tag || !lock)
		return false;
	bpf_spin_lock(&lock->lock);
	if (c->tag == tag && (orphan || c->flow.expires + SWEEP_GRACE <= now)) {
		*ticket = c->flow.ticket;
		c->tag = 0;
		gone = true;
	}
	bpf_spin_unlock(&lock->lock);
	return gone;
}

static long visit_entry(void *shard, struct conn_key *key, struct connection *c, struct visit *v)
{
	struct port *port = bpf_map_lookup_elem(&ports, &key->port);
	__u32 ticket = 0, number = key->port;

	v->visited++;
	if (port && c->flow.expires + SWEEP_GRACE > v->now)
		return 0;
	if (!condemn(c, !port, v->now, &ticket))
		return 0;
	queue_leave(port, number, ticket);
	if (c->flow.flags & CONN_EXPECTED)
		bpf_map_delete_elem(&related, key);
	if (bpf_map_delete_elem(shard, key) == 0 && port) {
		__sync_fetch_and_add(&port->connections, -1);
		__sync_fetch_and_add(&port->expired, 1);
	}
	return ++v->removed >= v->limit;
}

/* Whether the place is free and has been for a while. */
static __always_inline bool place_stale(struct counted *c, __u64 now)
{
	struct connection *known;
	struct conn_key key;
	__u64 created;
	__u32 tag, busy;
	void *shard;

	bpf_spin_lock(&c->lock);
	key = c->connection;
	created = c->created;
	busy = c->pending || c->written + SWEEP_GRACE > now;
	bpf_spin_unlock(&c->lock);
	if (busy)
		return false;
	tag = conn_tag(&key);
	shard = conn_shard(tag);
	if (!shard)
		return false;
	known = bpf_map_lookup_elem(shard, &key);
	return !known || known->tag != tag || known->flow.created != created ||
	       known->flow.expires + SWEEP_GRACE <= now;
}

/* Only the last place of a count may go: packets look at one after the other
 * up to the first that is not there. */
static __always_inline bool place_last(const struct place *place)
{
	struct place next = *place;
	void *shard;

	next.number++;
	shard = place_shard(place_tag(&next));
	return shard && !bpf_map_lookup_elem(shard, &next);
}

static long visit_place(void *shard, struct place *place, struct counted *c, struct visit *v)
{
	struct port *port = bpf_map_lookup_elem(&ports, &place->port);
	__u32 version = c->version;
	bool gone;

	v->visited++;
	if (port && (!place_last(place) || !place_stale(c, v->now)))
		return 0;
	bpf_spin_lock(&c->lock);
	gone = c->version == version;
	if (gone)
		c->tag = 0;
	bpf_spin_unlock(&c->lock);
	if (gone && bpf_map_delete_elem(shard, place) == 0 && port)
		__sync_fetch_and_add(&port->counted, -1);
	return gone && ++v->removed >= v->limit;
}

/* How long until the next visit. The tables' shards come one after the other. */
static __always_inline __u64 visit_shard(struct sweep *s)
{
	struct visit v = {
		.now = bpf_ktime_get_coarse_ns(),
		.visited = s->visited,
		.removed = s->removed,
		.limit = s->removed + REMOVALS,
	};
	__u32 index = s->shard % (SHARDS + COUNTED_SHARDS), place = index - SHARDS;
	void *shard;

	s->shard = index + 1;
	if (index < SHARDS) {
		shard = bpf_map_lookup_elem(&connections, &index);
		if (!shard)
			return TICK;
		bpf_for_each_map_elem(shard, visit_entry, &v, 0);
	} else {
		shard = bpf_map_lookup_elem(&counted, &place);
		if (!shard)
			return TICK;
		bpf_for_each_map_elem(shard, visit_place, &v, 0);
	}
	s->visited = v.visited;
	s->removed = v.removed;
	if (v.removed < v.limit)
		return TICK;
	s->shard = index;
	return SHORT_TICK;
}

static int tick(void *map, __u32 *key, struct sweep *s)
{
	bpf_timer_start(&s->timer, visit_shard(s), 0);
	return 0;
}

/* Run after loading; returns 0, or the error of the timer that cannot start. */
SEC("tc")
int sweeper(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct sweep *s = bpf_map_lookup_elem(&sweep, &zero);
	long error;

	if (!s)
		return 1;
	error = bpf_timer_init(&s->timer, &sweep, CLOCK_MONOTONIC);
	if (error == -EBUSY) /* it runs already */
		return 0;
	if (error)
		return -error;
	bpf_timer_set_callback(&s->timer, tick);
	return -bpf_timer_start(&s->timer, TICK, 0);
}
