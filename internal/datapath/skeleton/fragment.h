/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Fragments are not put together: the first one's decision is remembered for
 * the rest of its datagram, with the header fields that only it carries, as
 * long as the policy does not change.
 */
#ifndef TAPGATE_FRAGMENT_H
#define TAPGATE_FRAGMENT_H

/* As long as the kernel waits for the rest (ipfrag_time, ip6frag_time). */
#define FRAGMENT_TIMEOUT_V4 (30 * SECOND)
#define FRAGMENT_TIMEOUT_V6 (60 * SECOND)

#define TRANSPORT_GROUPS (HAVE_LINK_PROTO | HAVE_NET_PROTO | HAVE_PORTS | HAVE_TCP | \
			  HAVE_TCP_OPTIONS | HAVE_ICMP | HAVE_ICMPV6 | HAVE_ND_TARGET | HAVE_ND_MAC)

struct datagram {
	__u64 src_ip[2], dst_ip[2];
	__u32 port;
	__u32 id;
	__u8 out, family, proto;	/* proto: IPv4 only */
	__u8 pad[5];
};

struct first_fragment {
	__u64 seen;
	__u64 policy;		/* that decided */
	__u64 tcp_options[4];
	__u32 have;
	__u32 length;
	__u16 src_port, dst_port;
	__u8 link_proto, net_proto, tcp_flags, icmp_type, icmp_code;
	__u8 passed;
	__u8 pad[2];
};

struct remembered {
	struct datagram datagram;
	struct first_fragment first;
};

/*
 * A port's datagrams, 512 of them: a guest can push out only those of its own
 * port. Each belongs into one of the port's sets, where a new one takes the place
 * of the oldest. A set is made when a first fragment belongs into it, and goes
 * when the port's number is closed. An LRU hash would forget up to 128 of them at a time, and those first
 * that nothing has asked for yet.
 */
#define FRAGMENT_SETS	64
#define FRAGMENT_WAYS	8
#define FRAGMENT_SETS_OF_ALL	(4096 * FRAGMENT_SETS)

struct fragment_set {
	struct bpf_spin_lock lock;
	__u32 pad;
	struct remembered ways[FRAGMENT_WAYS];
};

struct fragment_place {
	__u32 port;
	__u32 set;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FRAGMENT_SETS_OF_ALL);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fragment_place);
	__type(value, struct fragment_set);
} fragments SEC(".maps");

static __always_inline void datagram_of(struct packet *p, struct datagram *d)
{
	__builtin_memset(d, 0, sizeof(*d));
	d->src_ip[0] = p->src_ip[0];
	d->src_ip[1] = p->src_ip[1];
	d->dst_ip[0] = p->dst_ip[0];
	d->dst_ip[1] = p->dst_ip[1];
	d->port = p->port;
	d->id = p->fragment_id;
	d->out = p->out;
	d->family = p->family;
	if (p->family == 4)
		d->proto = p->link_proto;
}

/* Where a datagram is in its set, or belongs. In memory, where the verifier
 * knows no values: it would follow every order of the eight. */
struct fragment_search {
	__u64 seen;	/* of the oldest */
	__u32 way;
	__u32 found;
	/* What a set begins with, too large for the stack; never written. A struct
	 * fragment_set has a lock that is not to be read. */
	__u8 empty[sizeof(struct fragment_set)];
};

/* Datagrams are numbered one after the other: the keyed hash alone, a sum of
 * products, may lead such into a few sets. */
static __always_inline struct fragment_set *fragment_set_of(struct datagram *d, struct fragment_search *make)
{
	__u32 set = keyed_hash(d, sizeof(*d) / 4);
	struct fragment_place place = { .port = d->port };
	struct fragment_set *known;

	set ^= set >> 16;
	set *= 0x7feb352d;
	set ^= set >> 15;
	set *= 0x846ca68b;
	place.set = (set ^ set >> 16) % FRAGMENT_SETS;
	known = bpf_map_lookup_elem(&fragments, &place);
	if (known || !make)
		return known;
	bpf_map_update_elem(&fragments, &place, make->empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&fragments, &place);
}

static __always_inline bool same_datagram(struct datagram *a, struct datagram *b)
{
	__u64 *x = (__u64 *)a, *y = (__u64 *)b, differ = 0;

	for (int i = 0; i < sizeof(*a) / 8; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}


/* Under the set's lock. */
static __always_inline void fragment_seek(struct fragment_set *set, struct datagram *d,
					  volatile struct fragment_search *search)
{
	search->seen = ~0ULL;
	search->way = 0;
	search->found = 0;
	for (int i = 0; i < FRAGMENT_WAYS; i++) {
		if (same_datagram(&set->ways[i].datagram, d)) {
			search->way = i;
			search->found = 1;
		} else if (!search->found && set->ways[i].first.seen < search->seen) {
			search->seen = set->ways[i].first.seen;
			search->way = i;
		}
	}
}

/* False if no first fragment of the datagram is remembered. */
static __always_inline bool fragment_find(struct packet *p, volatile struct fragment_search *search,
					  struct first_fragment *first)
{
	struct fragment_set *set;
	struct datagram d;

	datagram_of(p, &d);
	set = fragment_set_of(&d, NULL);
	if (!set)
		return false;
	bpf_spin_lock(&set->lock);
	fragment_seek(set, &d, search);
	*first = set->ways[search->way % FRAGMENT_WAYS].first;
	bpf_spin_unlock(&set->lock);
	return search->found && p->now < first->seen + (p->family == 6 ? FRAGMENT_TIMEOUT_V6 : FRAGMENT_TIMEOUT_V4);
}

/* What the first fragment told; false: it was dropped, and so is this one. */
static __always_inline bool fragment_recall(struct packet *p, struct fragment_search *search)
{
	struct first_fragment told = {}, *first = &told;
	const struct config *config = config_of(p);

	if (!config)
		return false;
	if (!fragment_find(p, search, first))
		return true;
	if (p->fragment_offset < first->length) {
		p->malformed = OVERLAPPING_FRAGMENT;
		return true;
	}
	if (first->policy != config->policy)
		return true;
	p->fragment = FRAGMENT_LATER;
	p->have |= first->have & TRANSPORT_GROUPS;
	p->link_proto = first->link_proto;
	p->net_proto = first->net_proto;
	p->src_port = first->src_port;
	p->dst_port = first->dst_port;
	p->tcp_flags = first->tcp_flags;
	p->icmp_type = first->icmp_type;
	p->icmp_code = first->icmp_code;
	for (int i = 0; i < 4; i++)
		p->tcp_options[i] = first->tcp_options[i];
	return first->passed;
}

static __always_inline void fragment_remember(struct packet *p, struct fragment_search *search, bool passed)
{
	const struct config *config = config_of(p);
	struct first_fragment first = {
		.seen = p->now,
		.policy = config ? config->policy : 0,
		.have = p->have,
		.length = p->fragment_length,
		.src_port = p->src_port,
		.dst_port = p->dst_port,
		.link_proto = p->link_proto,
		.net_proto = p->net_proto,
		.tcp_flags = p->tcp_flags,
		.icmp_type = p->icmp_type,
		.icmp_code = p->icmp_code,
		.passed = passed,
	};
	volatile struct fragment_search *found = search;
	struct fragment_set *set;
	struct datagram d;

	for (int i = 0; i < 4; i++)
		first.tcp_options[i] = p->tcp_options[i];
	datagram_of(p, &d);
	set = fragment_set_of(&d, search);
	if (!set)
		return;
	bpf_spin_lock(&set->lock);
	fragment_seek(set, &d, found);
	set->ways[found->way % FRAGMENT_WAYS].datagram = d;
	set->ways[found->way % FRAGMENT_WAYS].first = first;
	bpf_spin_unlock(&set->lock);
}

#endif
