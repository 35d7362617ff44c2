//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * Ends connections on demand, in two steps: they expire, and when no packet is
 * on its way any more that found them alive, they are removed. A packet may
 * prolong a connection that it found alive: then it expires again.
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

#define FLUSHED_AT_ONCE	4096

/* A connection to end; key.port 0 ends the list. */
struct flushed {
	struct conn_key key;
	__u64 created;		/* another may have its name by now */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLUSHED_AT_ONCE);
	__type(key, __u32);
	__type(value, struct flushed);
} flushed SEC(".maps");

struct flushing {
	__u64 now;
	__u32 ended;
	__u32 remove;
};

/* When flush_expire() ran last. */
__u64 expired_at;

/* Under the connection's lock. */
static __always_inline bool is_flushed(struct connection *c, __u32 tag, struct flushed *one)
{
	return c->tag == tag && c->flow.created == one->created;
}

static __always_inline void expire_one(struct connection *c, struct conn_lock *lock, __u32 tag,
				       struct flushed *one, struct flushing *f)
{
	bpf_spin_lock(&lock->lock);
	if (is_flushed(c, tag, one) && f->now < c->flow.expires) {
		c->flow.expires = f->now;
		f->ended++;
	}
	bpf_spin_unlock(&lock->lock);
}

static __always_inline void remove_one(struct connection *c, struct conn_lock *lock, __u32 tag,
				       struct flushed *one, struct flushing *f, void *shard)
{
	struct port *port = bpf_map_lookup_elem(&ports, &one->key.port);
	bool gone, expected = false;
	__u32 ticket = 0;

	bpf_spin_lock(&lock->lock);
	gone = is_flushed(c, tag, one) && c->flow.expires <= expired_at;
	if (gone) {
		c->tag = 0;
		ticket = c->flow.ticket;
		expected = c->flow.flags & CONN_EXPECTED;
	}
	bpf_spin_unlock(&lock->lock);
	if (!gone)
		return;
	queue_leave(port, one->key.port, ticket);
	if (expected)
		bpf_map_delete_elem(&related, &one->key);
	if (bpf_map_delete_elem(shard, &one->key) == 0 && port)
		__sync_fetch_and_add(&port->connections, -1);
	f->ended++;
}

static int flush_one(__u32 i, struct flushing *f)
{
	struct flushed *one = bpf_map_lookup_elem(&flushed, &i);
	struct conn_lock *lock;
	struct connection *c;
	void *shard;
	__u32 tag;

	if (!one || !one->key.port)
		return 1;
	tag = conn_tag(&one->key);
	shard = conn_shard(tag);
	lock = conn_lock(tag);
	if (!shard || !lock)
		return 1;
	c = bpf_map_lookup_elem(shard, &one->key);
	if (!c)
		return 0;
	if (f->remove)
		remove_one(c, lock, tag, one, f, shard);
	else
		expire_one(c, lock, tag, one, f);
	return 0;
}

/* Ends the listed connections that live; returns how many. */
SEC("tc")
int flush_expire(struct __sk_buff *skb)
{
	struct flushing f = { .now = current_time() };

	expired_at = f.now;
	bpf_loop(FLUSHED_AT_ONCE, flush_one, &f, 0);
	return f.ended;
}

/* Removes those that have ended until then; returns how many. */
SEC("tc")
int flush_remove(struct __sk_buff *skb)
{
	struct flushing f = { .remove = 1 };

	bpf_loop(FLUSHED_AT_ONCE, flush_one, &f, 0);
	return f.ended;
}
