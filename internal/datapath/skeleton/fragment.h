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
			  HAVE_TCP_OPTIONS | HAVE_ICMP | HAVE_ICMPV6)

struct datagram {
	__u64 src_ip[2], dst_ip[2];
	__u32 port;
	__u32 id;
	__u8 out, family, proto;	/* proto: IPv4 only */
	__u8 pad[5];
};

struct first_fragment {
	__u64 expires;
	__u64 policy;		/* that decided */
	__u64 tcp_options[4];
	__u32 have;
	__u32 length;
	__u16 src_port, dst_port;
	__u8 link_proto, net_proto, tcp_flags, icmp_type, icmp_code;
	__u8 passed;
	__u8 pad[2];
};

/* A guest can push out only the fragments of its own port. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, struct datagram);
	__type(value, struct first_fragment);
} fragments SEC(".maps");

static __always_inline void datagram_of(struct packet *p, __u32 port, struct datagram *d)
{
	__builtin_memset(d, 0, sizeof(*d));
	d->src_ip[0] = p->src_ip[0];
	d->src_ip[1] = p->src_ip[1];
	d->dst_ip[0] = p->dst_ip[0];
	d->dst_ip[1] = p->dst_ip[1];
	d->port = port;
	d->id = p->fragment_id;
	d->out = p->out;
	d->family = p->family;
	if (p->family == 4)
		d->proto = p->link_proto;
}

/* What the first fragment told; false: it was dropped, and so is this one. */
static __always_inline bool fragment_recall(struct packet *p, __u32 port)
{
	struct first_fragment *first;
	struct datagram d;

	datagram_of(p, port, &d);
	first = bpf_map_lookup_elem(&fragments, &d);
	if (!first || first->expires <= p->now)
		return true;
	if (p->fragment_offset < first->length) {
		p->malformed = OVERLAPPING_FRAGMENT;
		return true;
	}
	if (first->policy != config.policy)
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

static __always_inline void fragment_remember(struct packet *p, __u32 port, bool passed)
{
	struct first_fragment first = {
		.expires = p->now + (p->family == 6 ? FRAGMENT_TIMEOUT_V6 : FRAGMENT_TIMEOUT_V4),
		.policy = config.policy,
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
	struct datagram d;

	for (int i = 0; i < 4; i++)
		first.tcp_options[i] = p->tcp_options[i];
	datagram_of(p, port, &d);
	bpf_map_update_elem(&fragments, &d, &first, BPF_ANY);
}

#endif
