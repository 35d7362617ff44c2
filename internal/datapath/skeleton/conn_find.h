/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Finding entries in the tables that are kept in shards. */
#ifndef TAPGATE_CONN_FIND_H
#define TAPGATE_CONN_FIND_H

#define READ_ONCE(x)		(*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile typeof(x) *)&(x) = (v))

#define EEXIST 17

static __always_inline bool same_words(const void *a, const void *b, __u32 bytes)
{
	const __u64 *x = a, *y = b;

#pragma unroll
	for (__u32 i = 0; i < bytes / 8; i++)
		if (x[i] != y[i])
			return false;
	return true;
}

/*
 * Keyed hash: products with random 64-bit words, of which the upper half
 * counts (Lemire and Kaser, "Strongly universal string hashing is fast"). Never
 * 0; its lowest bits choose the shard.
 */
static __always_inline __u32 keyed_hash(const void *key, int length)
{
	const __u32 *words = key;
	struct hash_secret *s;
	__u32 zero = 0;
	__u64 hash;

	s = bpf_map_lookup_elem(&secret, &zero);
	if (!s)
		return 1;
	hash = s->words[12];
#pragma unroll
	for (int i = 0; i < length; i++)
		hash += s->words[i] * words[i];
	return hash >> 32 | 1U << 31;
}

static __always_inline __u32 conn_tag(const struct conn_key *key)
{
	return keyed_hash(key, sizeof(*key) / 4);
}

static __always_inline void *conn_shard(__u32 tag)
{
	__u32 shard = tag % SHARDS;

	return bpf_map_lookup_elem(&connections, &shard);
}

/* What protects the connection with this tag. The tag must be compared under it. */
static __always_inline struct conn_lock *conn_lock(__u32 tag)
{
	__u32 index = tag / SHARDS % LOCKS;

	return bpf_map_lookup_elem(&locks, &index);
}

static __always_inline bool conn_live(struct connection *c, __u32 tag, __u64 now)
{
	return READ_ONCE(c->tag) == tag && now < READ_ONCE(c->flow.expires);
}

/* Finds a live connection. */
static __always_inline struct connection *conn_find(const struct conn_key *key, __u64 now)
{
	__u32 tag = conn_tag(key);
	void *shard = conn_shard(tag);
	struct connection *c;

	if (!shard)
		return NULL;
	c = bpf_map_lookup_elem(shard, key);
	return c && conn_live(c, tag, now) ? c : NULL;
}

static __always_inline __u32 place_tag(const struct place *place)
{
	return keyed_hash(place, sizeof(*place) / 4);
}

static __always_inline void *place_shard(__u32 tag)
{
	__u32 shard = tag % COUNTED_SHARDS;

	return bpf_map_lookup_elem(&counted, &shard);
}

#endif
