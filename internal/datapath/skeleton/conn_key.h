/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Names of connections: from a packet, from the packet that an ICMP error
 * quotes. Mirrors internal/conntrack/tuple.go, icmp.go and quote.go. */
#ifndef TAPGATE_CONN_KEY_H
#define TAPGATE_CONN_KEY_H

#define PROTO_GRE	47
#define GRE_PROTO_PPP	0x880b

#define ICMP_HEADER		8
#define ICMPV6_REDIRECT		137
#define REDIRECT_OPTION		40
#define REDIRECT_OPTION_HEAD	8
#define OPTION_REDIRECTED_HEADER 4
#define MAX_QUOTED_HEADERS	8
#define IP_OFFSET		14	/* the IP header's place in the frame */

/* Which end of the key sent a packet. */
enum ends {
	FROM_A,
	FROM_B,
	SAME_ENDS,
};

static __always_inline bool has_ports(__u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_UDPLITE || proto == PROTO_SCTP;
}

static __always_inline void key_swap(struct conn_key *k)
{
	__u64 high = k->a_ip[0], low = k->a_ip[1];

	k->a_ip[0] = k->b_ip[0];
	k->a_ip[1] = k->b_ip[1];
	k->b_ip[0] = high;
	k->b_ip[1] = low;
}

/* Orders a key that was filled in with the source as end a. */
static __always_inline void key_order(struct track *t)
{
	struct conn_key *k = &t->key;
	__u16 port = k->a_port;

	t->ends = FROM_A;
	if (k->a_ip[0] != k->b_ip[0]) {
		if (k->a_ip[0] < k->b_ip[0])
			return;
	} else if (k->a_ip[1] != k->b_ip[1]) {
		if (k->a_ip[1] < k->b_ip[1])
			return;
	} else if (port == k->b_port) {
		t->ends = SAME_ENDS;
		return;
	} else if (port < k->b_port) {
		return;
	}
	t->ends = FROM_B;
	key_swap(k);
	k->a_port = k->b_port;
	k->b_port = port;
}

/* The key of an ICMP query or answer, filled in with the source as end a;
 * false for types that are neither. */
static __always_inline bool key_icmp(struct track *t, __u8 type, __u8 code, __u16 id)
{
	struct conn_key *k = &t->key;
	__u8 question = type;
	bool answer = false;

	if (k->proto == PROTO_ICMPV6) {
		answer = type == 129 || type == 140;
		if (!answer && type != 128 && type != 139)
			return false;
		question -= answer;
	} else if (type == 0) {
		question = 8;
		answer = true;
	} else {
		answer = type == 14 || type == 16 || type == 18;
		if (!answer && type != 8 && type != 13 && type != 15 && type != 17)
			return false;
		question -= answer;
	}
	k->a_port = id;
	k->b_port = (__u16)question << 8 | code;
	t->ends = FROM_A;
	t->answer = answer;
	if (answer) {
		t->ends = FROM_B;
		key_swap(k);
	}
	return true;
}

/* The call number of GRE's version 1 as the destination's port. */
static __always_inline bool key_gre(struct __sk_buff *skb, struct conn_key *k, __u32 at, __u32 end)
{
	__u8 h[8];

	if (at + 8 > end)
		return true;
	if (bpf_skb_load_bytes(skb, at, h, 8) < 0)
		return false;
	if ((h[1] & 7) != 1)
		return true;
	k->b_port = be16_at(h + 6);
	return be16_at(h + 2) == GRE_PROTO_PPP;
}

/* Where a quoted IPv4 packet's payload begins, 0 if it cannot be read. */
static __always_inline __u32 quoted_ipv4(struct __sk_buff *skb, struct conn_key *k, __u32 at, __u32 end)
{
	__u8 h[20];

	if (at + 20 > end || bpf_skb_load_bytes(skb, at, h, 20) < 0)
		return 0;
	if (be16_at(h + 6) & 0x1fff)
		return 0;
	k->proto = h[9];
	k->a_ip[1] = be32_at(h + 12);
	k->b_ip[1] = be32_at(h + 16);
	return at + (h[0] & 15) * 4;
}

static __always_inline __u32 quoted_ipv6(struct __sk_buff *skb, struct conn_key *k, __u32 at, __u32 end)
{
	__u8 h[40], next;

	if (at + 40 > end || bpf_skb_load_bytes(skb, at, h, 40) < 0)
		return 0;
	k->a_ip[0] = be64_at(h + 8);
	k->a_ip[1] = be64_at(h + 16);
	k->b_ip[0] = be64_at(h + 24);
	k->b_ip[1] = be64_at(h + 32);
	next = h[6];
	at += 40;
	for (int i = 0; i < MAX_QUOTED_HEADERS; i++) {
		__u32 length;

		if (next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_FRAGMENT &&
		    next != PROTO_AH && next != PROTO_DSTOPTS) {
			k->proto = next;
			return next == PROTO_NONE ? 0 : at;
		}
		if (at + 4 > end || bpf_skb_load_bytes(skb, at, h, 4) < 0)
			return 0;
		length = (h[1] + 1) * 8;
		if (next == PROTO_FRAGMENT) {
			if (be16_at(h + 2) & 0xfff8)
				return 0;
			length = 8;
		} else if (next == PROTO_AH) {
			length = (h[1] + 2) * 4;
		}
		next = h[0];
		at += length;
		if (at > end)
			return 0;
	}
	return 0;
}

/* The key of the packet quoted at `at`, if the error goes to its sender. */
static __always_inline bool key_quoted(struct __sk_buff *skb, struct packet *p, struct track *t, __u32 at)
{
	__u32 end = p->l4_offset + p->l4_length;
	struct conn_key *k = &t->key;
	__u8 h[8];

	t->quoted = 1;
	at = p->family == 4 ? quoted_ipv4(skb, k, at, end) : quoted_ipv6(skb, k, at, end);
	if (at == 0 || at > end || k->a_ip[0] != p->dst_ip[0] || k->a_ip[1] != p->dst_ip[1])
		return false;
	k->a_port = k->b_port = 0;
	if (k->proto == PROTO_ICMP || k->proto == PROTO_ICMPV6) {
		if (at + ICMP_HEADER > end || (k->proto == PROTO_ICMPV6) != (p->family == 6) ||
		    bpf_skb_load_bytes(skb, at, h, ICMP_HEADER) < 0)
			return false;
		return key_icmp(t, h[0], h[1], be16_at(h + 4));
	}
	if (has_ports(k->proto)) {
		if (at + 4 > end || bpf_skb_load_bytes(skb, at, h, 4) < 0)
			return false;
		k->a_port = be16_at(h);
		k->b_port = be16_at(h + 2);
	} else if (k->proto == PROTO_GRE && !key_gre(skb, k, at, end)) {
		return false;
	}
	key_order(t);
	return true;
}

/* Where a redirect's quote begins; 0 if it is no neighbour's, or quotes
 * nothing in its first option. */
static __always_inline __u32 redirect_quote(struct __sk_buff *skb, struct packet *p)
{
	__u32 at = p->l4_offset + REDIRECT_OPTION;
	__u8 hops, option[2];

	if (p->l4_length < REDIRECT_OPTION + 2 || p->icmp_code || p->src_ip[0] >> 54 != 0xfe80 >> 6 ||
	    bpf_skb_load_bytes(skb, IP_OFFSET + 7, &hops, 1) < 0 || hops != 255 ||
	    bpf_skb_load_bytes(skb, at, option, 2) < 0 ||
	    option[0] != OPTION_REDIRECTED_HEADER || option[1] == 0)
		return 0;
	return at + REDIRECT_OPTION_HEAD;
}

static __always_inline bool icmp_is_error(__u8 type)
{
	return (type >= 3 && type <= 5) || type == 11 || type == 12;
}

static __always_inline bool icmpv6_untracked(__u8 type)
{
	return (type >= 130 && type <= 136) || type == 143 || type == 151 || type == 152;
}

/* The key of an ICMP packet's connection, or of the one that an error is
 * about. Sets the state of packets that have none, or what is wrong. */
static __always_inline bool key_of_icmp(struct __sk_buff *skb, struct packet *p, struct track *t)
{
	bool v6 = p->link_proto == PROTO_ICMPV6;
	__u8 type = p->icmp_type;

	p->invalid = INVALID_ICMP_TYPE;
	if (v6 != (p->family == 6))
		return false;
	if (p->l4_length < ICMP_HEADER) {
		p->invalid = INVALID_HEADER;
		return false;
	}
	if (v6 && icmpv6_untracked(type)) {
		p->state = STATE_UNTRACKED;
		p->invalid = NOT_INVALID;
		return false;
	}
	if (v6 ? type < 128 || type == ICMPV6_REDIRECT : icmp_is_error(type)) {
		__u32 at = p->l4_offset + ICMP_HEADER;

		p->invalid = INVALID_ICMP_QUOTE;
		if (v6 && type == ICMPV6_REDIRECT)
			at = redirect_quote(skb, p);
		return at && key_quoted(skb, p, t, at);
	}
	return key_icmp(t, type, p->icmp_code, p->icmp_id);
}

/* The key of a packet's connection. If it has none: false, with what is wrong. */
static __always_inline bool key_of_packet(struct __sk_buff *skb, struct packet *p, struct track *t)
{
	struct conn_key *k = &t->key;

	__builtin_memset(k, 0, sizeof(*k));
	t->quoted = 0;
	t->answer = 0;
	k->port = p->port;
	k->family = p->family;
	k->proto = p->link_proto;
	k->a_ip[0] = p->src_ip[0];
	k->a_ip[1] = p->src_ip[1];
	k->b_ip[0] = p->dst_ip[0];
	k->b_ip[1] = p->dst_ip[1];
	if (k->proto == PROTO_ICMP || k->proto == PROTO_ICMPV6)
		return key_of_icmp(skb, p, t);
	if (has_ports(k->proto)) {
		if (!(p->have & HAVE_PORTS))
			return false;
		k->a_port = p->src_port;
		k->b_port = p->dst_port;
	} else if (k->proto == PROTO_GRE &&
		   !key_gre(skb, k, p->l4_offset, p->l4_offset + p->l4_length)) {
		p->invalid = INVALID_GRE;
		return false;
	}
	key_order(t);
	return true;
}

#endif
