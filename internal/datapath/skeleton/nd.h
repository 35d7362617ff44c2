/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What neighbour discovery (RFC 4861) says: the target, and the link-layer
 * address in an option. What cannot be read is there all the same, as :: and
 * 00:00:00:00:00:00, so that it is nobody's. Mirrored by discovery.go in
 * internal/packet, which says what cannot be read.
 */
#ifndef TAPGATE_ND_H
#define TAPGATE_ND_H

#define ND_ROUTER_SOLICITATION	133
#define ND_NEIGHBOUR_SOLICITATION 135
#define ND_REDIRECT		137

#define ND_SOURCE_LINK_ADDRESS	1
#define ND_TARGET_LINK_ADDRESS	2

#define MAX_ND_OPTIONS 64

/* Bytes of the message without its options. */
static __always_inline __u32 nd_header(__u8 type)
{
	if (type == ND_ROUTER_SOLICITATION)
		return 8;
	if (type < ND_NEIGHBOUR_SOLICITATION)
		return 16;
	return type < ND_REDIRECT ? 24 : 40;
}

struct nd_walk {
	struct __sk_buff *skb;
	struct packet *p;
	__u32 end;
};

/* One option. Where the walk stands is kept in map memory, as in walk_option: a
 * walk that ends before the message does has met what it cannot read. */
static long walk_nd_option(__u32 n, struct nd_walk *w)
{
	struct packet *p = w->p;
	__u32 at = p->nd_at, length;
	__u8 o[8];
	__u64 mac;

	if (at + 8 > w->end || bpf_skb_load_bytes(w->skb, at, o, 8) < 0)
		return 1;
	length = o[1] * 8;
	if (!length || at + length > w->end)
		return 1;
	if (o[0] == ND_SOURCE_LINK_ADDRESS || o[0] == ND_TARGET_LINK_ADDRESS) {
		mac = mac_at(o + 2);
		if (length != 8 || (p->have & HAVE_ND_MAC && mac != p->nd_mac))
			return 1;
		p->have |= HAVE_ND_MAC;
		p->nd_mac = mac;
	}
	p->nd_at = at + length;
	return p->nd_at == w->end;
}

static __always_inline void parse_nd(struct __sk_buff *skb, struct packet *p, const __u8 *icmp)
{
	__u32 header;
	struct nd_walk w = { .skb = skb, .p = p, .end = p->l4_offset + p->l4_length };

	if (!(p->have & HAVE_IPV6) || p->icmp_type < ND_ROUTER_SOLICITATION || p->icmp_type > ND_REDIRECT)
		return;
	header = nd_header(p->icmp_type);
	if (p->icmp_type >= ND_NEIGHBOUR_SOLICITATION) {
		p->have |= HAVE_ND_TARGET;
		if (!p->fragment && p->l4_length >= 24) {
			p->nd_target[0] = be64_at(icmp + 8);
			p->nd_target[1] = be64_at(icmp + 16);
		}
	}
	if (!p->fragment && p->l4_length >= header) {
		p->nd_at = p->l4_offset + header;
		if (p->nd_at < w.end)
			bpf_loop(MAX_ND_OPTIONS, walk_nd_option, &w, 0);
	}
	if (p->nd_at != w.end) {
		p->have |= HAVE_ND_MAC;
		p->nd_mac = 0;
	}
}

#endif
