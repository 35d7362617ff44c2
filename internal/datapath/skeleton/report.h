/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What watchers are told of packets. A watcher is a process: it brings a ring
 * and a table of ports of its own, so that none takes anything from another. It
 * is armed for some seconds at a time: one that died is forgotten.
 */
#ifndef TAPGATE_REPORT_H
#define TAPGATE_REPORT_H

#include "bucket.h"

#define WATCHERS	8
#define REPORT_HEAD	256
#define NO_HEAD		0xffff

struct report {
	__u64 time;		/* nanoseconds, monotonic */
	__u32 port;		/* its number */
	__u32 generation;
	__u32 clause;		/* NO_CLAUSE: none decided */
	__u32 length;		/* of the frame on the device */
	__u16 captured;		/* bytes in head; NO_HEAD while it is not filled */
	__u16 vlan_protocol;	/* of a tag that is not in the frame; 0: none */
	__u16 vlan_tci;
	__u8 out;		/* 1: sent by the guest */
	__u8 verdict;
	__u8 reason;		/* enum reason */
	__u8 state;		/* enum state */
	__u8 direction;		/* of the connection */
	__u8 invalid;		/* enum invalid */
	__u8 pad[2];
	__u8 head[REPORT_HEAD];
};

/* Too large for the stack; shared, so that the layout of what is sent is part of
 * the shared maps' layout. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct report);
} report SEC(".maps");

struct watcher {
	__u64 until;		/* told nothing from this moment on */
	__u64 interval, depth;	/* of each port's bucket of reports */
	__u32 fates;		/* bits of enum fate */
	__u32 every_port;	/* not only those in its table */
};

struct watches {
	__u64 until[FATES];	/* the latest of all watchers */
	struct watcher watchers[WATCHERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct watches);
} watches SEC(".maps");

/* A port to a watcher, by enum fate. */
struct watched {
	__u64 full[FATES];	/* when the bucket of reports is */
	__u64 limited[FATES];	/* packets that the watcher was not told of */
	__u64 lost[FATES];	/* for lack of room in the ring */
};

/* Never called: see describe_connection. */
__attribute__((unused)) int describe_watched(struct watched *w)
{
	return w->full[0] == 0;
}

/* By port number; 0 stands for ports that there is no room for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WATCHERS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(max_entries, 16384);
		__type(key, __u32);
		__type(value, struct watched);
	});
} watch_tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WATCHERS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_RINGBUF);
		__uint(max_entries, 4096);	/* watchers bring larger ones */
	});
} watch_rings SEC(".maps");

static __always_inline struct watches *get_watches(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&watches, &zero);
}

static __always_inline bool watched(__u32 fate, __u64 now)
{
	struct watches *w = get_watches();

	return w && w->until[fate] > now;
}

static __always_inline struct watched *watched_port(void *table, __u32 port, bool every_port)
{
	struct watched *known = bpf_map_lookup_elem(table, &port), new = {};
	__u32 others = 0;

	if (known || !every_port)
		return known;
	bpf_map_update_elem(table, &port, &new, BPF_NOEXIST);
	known = bpf_map_lookup_elem(table, &port);
	return known ?: bpf_map_lookup_elem(table, &others);
}

/* Fills in what costs most, once somebody is told. */
static __always_inline void report_complete(struct __sk_buff *skb, struct report *r, __u64 now)
{
	__u32 length = skb->len;

	r->time = features.testing ? now : bpf_ktime_get_ns();
	if (length > REPORT_HEAD)
		length = REPORT_HEAD;
	r->captured = 0;
	if (length && bpf_skb_load_bytes(skb, 0, r->head, length) == 0)
		r->captured = length;
}

/* Tells one watcher of the packet in r, if it wants to know and may. */
static __always_inline void report_tell(struct __sk_buff *skb, struct report *r, __u32 slot, __u32 fate, __u64 now)
{
	struct watches *all = get_watches();
	struct watched *port;
	struct watcher *w;
	void *table, *ring;
	__u32 captured;

	if (!all || slot >= WATCHERS || fate >= FATES)
		return;
	w = &all->watchers[slot];
	if (w->until <= now || !(w->fates & 1 << fate))
		return;
	table = bpf_map_lookup_elem(&watch_tables, &slot);
	ring = bpf_map_lookup_elem(&watch_rings, &slot);
	if (!table || !ring)
		return;
	port = watched_port(table, r->port, w->every_port);
	if (!port)
		return;
	if (!take_token(&port->full[fate], now, w->interval, w->depth)) {
		__sync_fetch_and_add(&port->limited[fate], 1);
		return;
	}
	if (r->captured == NO_HEAD)
		report_complete(skb, r, now);
	captured = r->captured;
	if (captured > REPORT_HEAD)
		captured = REPORT_HEAD;
	if (bpf_ringbuf_output(ring, r, __builtin_offsetof(struct report, head) + captured, 0))
		__sync_fetch_and_add(&port->lost[fate], 1);
}

#endif
