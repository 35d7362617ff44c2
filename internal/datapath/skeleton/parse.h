/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The parser: fills in struct packet. Mirrored by internal/packet. */
#ifndef TAPGATE_PARSE_H
#define TAPGATE_PARSE_H

#define HEAD_BYTES 128	/* copied from the frame in one go: all usual headers */
#define L4_BYTES   64	/* transport header read apart when it lies further back */

/* The parser's view of the frame's first bytes, in a per-CPU map. */
struct head {
	__u8 bytes[HEAD_BYTES + L4_BYTES + 128]; /* slack: masked offsets stay inside */
	__u32 length;		/* valid bytes */
} __attribute__((aligned(8)));

static __always_inline __u16 be16_at(const __u8 *p)
{
	return (__u16)p[0] << 8 | p[1];
}

static __always_inline __u32 be32_at(const __u8 *p)
{
	return bpf_ntohl(*(const __u32 *)p);
}

static __always_inline __u64 be64_at(const __u8 *p)
{
	return (__u64)be32_at(p) << 32 | be32_at(p + 4);
}

static __always_inline __u64 mac_at(const __u8 *p)
{
	return (__u64)be16_at(p) << 32 | be32_at(p + 2);
}

#define PROTO_HOPOPTS	0
#define PROTO_ICMP	1
#define PROTO_IGMP	2
#define PROTO_TCP	6
#define PROTO_UDP	17
#define PROTO_DCCP	33
#define PROTO_ROUTING	43
#define PROTO_FRAGMENT	44
#define PROTO_ESP	50
#define PROTO_AH	51
#define PROTO_ICMPV6	58
#define PROTO_NONE	59
#define PROTO_DSTOPTS	60
#define PROTO_SCTP	132
#define PROTO_UDPLITE	136

#define MAX_EXTENSION_HEADERS 16

static __always_inline void parse_stp(struct packet *p, const __u8 *llc, __u32 length)
{
	/* LLC 42 42 03, protocol 0, version 0, type (IEEE 802.1D clause 9) */
	if (length < 7 || llc[0] != 0x42 || llc[1] != 0x42 || llc[2] != 3 ||
	    llc[3] || llc[4] || llc[5])
		return;
	p->have |= HAVE_STP;
	p->stp_type = llc[6];
	if (p->stp_type != 0 || length < 38)
		return;
	p->have |= HAVE_STP_CONFIG;
	p->stp_flags = llc[7];
	p->stp_root_priority = be16_at(llc + 8);
	p->stp_root_address = mac_at(llc + 10);
	p->stp_root_cost = be32_at(llc + 16);
	p->stp_sender_priority = be16_at(llc + 20);
	p->stp_sender_address = mac_at(llc + 22);
	p->stp_port = be16_at(llc + 28);
	p->stp_age = be16_at(llc + 30);
	p->stp_max_age = be16_at(llc + 32);
	p->stp_hello_time = be16_at(llc + 34);
	p->stp_forward_delay = be16_at(llc + 36);
}

static __always_inline void parse_arp(struct packet *p, const __u8 *arp, __u32 length)
{
	__u32 hardware, protocol, target;

	if (length < 8)
		return;
	p->have |= HAVE_ARP;
	p->arp_hwtype = be16_at(arp);
	p->arp_protocol = be16_at(arp + 2);
	p->arp_opcode = be16_at(arp + 6);
	/* The lengths of hardware and protocol addresses place what follows. */
	hardware = arp[4];
	protocol = arp[5];
	if (hardware == 6 && p->arp_hwtype == 1) {
		if (length >= 14) {
			p->have |= HAVE_ARP_SRC_MAC;
			p->arp_src_mac = mac_at(arp + 8);
		}
		target = 14 + protocol;
		if (length >= target + 6) {
			p->have |= HAVE_ARP_DST_MAC;
			p->arp_dst_mac = mac_at(arp + (target & 127));
		}
	}
	target = 12 + 2 * hardware;
	if (protocol == 4 && p->arp_protocol == 0x0800 && length >= target + 4) {
		p->have |= HAVE_ARP_IP;
		p->arp_src_ip = be32_at(arp + ((8 + hardware) & 127));
		p->arp_dst_ip = be32_at(arp + (target & 127));
		p->arp_gratuitous = p->arp_src_ip == p->arp_dst_ip;
	}
}

/* ones' complement sum over an IPv4 header; 0xffff is good (RFC 1071) */
static __always_inline bool ipv4_checksum_good(const __u8 *ip, __u32 words)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < 5; i++)
		sum += *(const __u32 *)(ip + 4 * i);
	if (words > 5)
		for (__u32 i = 5; i < 15; i++)
			sum += i < words ? *(const __u32 *)(ip + 4 * i) : 0;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Each parser sets l4_offset and l4_length; `end` is the frame's length. */
static __always_inline void parse_ipv4(struct __sk_buff *skb, struct packet *p, const __u8 *ip,
				       __u32 offset, __u32 end)
{
	__u32 ihl, total, fragment;

	if (offset + 20 > end || ip[0] >> 4 != 4 || (ip[0] & 15) < 5) {
		p->malformed = MALFORMED_IP;
		return;
	}
	p->have |= HAVE_IPV4 | HAVE_LINK_PROTO | HAVE_NET_PROTO;
	p->family = 4;
	p->dscp = ip[1] >> 2;
	p->link_proto = p->net_proto = ip[9];
	p->src_ip[1] = be32_at(ip + 12);
	p->dst_ip[1] = be32_at(ip + 16);
	ihl = (ip[0] & 15) * 4;
	total = be16_at(ip + 2);
	if (total == 0 && skb->gso_segs)	/* a merged packet of over 64 KiB */
		total = end - offset;
	if (total < ihl || offset + total > end || !ipv4_checksum_good(ip, ihl / 4)) {
		p->malformed = MALFORMED_IP;
		return;
	}
	p->l4_offset = offset + ihl;
	p->l4_length = total - ihl;
	p->fragment_length = p->l4_length;
	fragment = be16_at(ip + 6);
	p->fragment_offset = (fragment & 0x1fff) * 8;
	p->more_fragments = fragment >> 13 & 1;
	p->fragment_id = be16_at(ip + 4);
	if (p->fragment_offset)
		p->fragment = FRAGMENT_ORPHAN;
	else if (p->more_fragments)
		p->fragment = FRAGMENT_FIRST;
}

/* The IP layer refuses a broken hop-by-hop header, and a first fragment must
 * hold the whole chain (RFC 8200 section 4.5). */
static __always_inline void truncated_chain(struct packet *p, bool hop_by_hop)
{
	if (hop_by_hop)
		p->malformed = MALFORMED_IP;
	else if (p->fragment == FRAGMENT_FIRST)
		p->malformed = SHORT_FIRST_FRAGMENT;
}

static __always_inline bool is_extension(__u8 next)
{
	return next == PROTO_HOPOPTS || next == PROTO_ROUTING || next == PROTO_FRAGMENT ||
	       next == PROTO_AH || next == PROTO_DSTOPTS;
}

struct chain_walk {
	struct __sk_buff *skb;
	struct packet *p;
	__u32 end;
};

/* One extension header. Where the walk stands is kept in link_proto and
 * l4_offset; a chain that cannot be followed leaves both at 0. */
static long walk_chain(__u32 n, struct chain_walk *w)
{
	struct packet *p = w->p;
	__u32 at = p->l4_offset, end = w->end, length = 8;
	__u8 next = p->link_proto, h[8];

	if (!is_extension(next))
		return 1;
	p->link_proto = 0;
	p->l4_offset = 0;
	if (next == PROTO_AH && !(p->have & HAVE_NET_PROTO)) {
		p->have |= HAVE_NET_PROTO;
		p->net_proto = PROTO_AH;
	}
	if (at + 8 > end || bpf_skb_load_bytes(w->skb, at, h, 8) < 0) {
		truncated_chain(p, next == PROTO_HOPOPTS && n == 0);
		return 1;
	}
	if (next == PROTO_FRAGMENT) {
		p->fragment_offset = be16_at(h + 2) & 0xfff8;
		p->more_fragments = h[3] & 1;
		p->fragment_id = be32_at(h + 4);
		p->fragment_length = end - at - 8;
		if (p->fragment_offset)
			p->fragment = FRAGMENT_ORPHAN;
		else if (p->more_fragments)
			p->fragment = FRAGMENT_FIRST;
	} else if (next == PROTO_AH) {
		length = (h[1] + 2) * 4;
	} else {
		length = (h[1] + 1) * 8;
	}
	if (at + length > end) {
		truncated_chain(p, next == PROTO_HOPOPTS && n == 0);
		return 1;
	}
	p->link_proto = h[0];
	p->l4_offset = at + length;
	return next == PROTO_FRAGMENT && p->fragment_offset;
}

static __always_inline void parse_ipv6(struct __sk_buff *skb, struct packet *p, const __u8 *ip,
				       __u32 offset, __u32 end)
{
	__u32 at = offset + 40, payload;

	if (at > end || ip[0] >> 4 != 6) {
		p->malformed = MALFORMED_IP;
		return;
	}
	p->have |= HAVE_IPV6;
	p->family = 6;
	p->dscp = (be16_at(ip) >> 6) & 0x3f;
	p->src_ip[0] = be64_at(ip + 8);
	p->src_ip[1] = be64_at(ip + 16);
	p->dst_ip[0] = be64_at(ip + 24);
	p->dst_ip[1] = be64_at(ip + 32);
	payload = be16_at(ip + 4);
	if (payload == 0 && skb->gso_segs)	/* a merged packet of over 64 KiB */
		payload = end - at;
	if (at + payload > end) {
		p->malformed = MALFORMED_IP;
		return;
	}
	end = at + payload;
	p->link_proto = ip[6];
	p->l4_offset = at;
	if (is_extension(p->link_proto)) {
		struct chain_walk w = { .skb = skb, .p = p, .end = end };

		bpf_loop(MAX_EXTENSION_HEADERS, walk_chain, &w, 0);
		if (!p->l4_offset)
			return;
		/* What hides behind more headers than are followed, no rule sees. */
		if (p->fragment != FRAGMENT_ORPHAN && is_extension(p->link_proto)) {
			p->malformed = UNREADABLE;
			return;
		}
	}
	if (p->link_proto != PROTO_NONE)
		p->have |= HAVE_LINK_PROTO;
	if (!(p->have & HAVE_NET_PROTO)) {
		p->net_proto = p->link_proto;
		p->have |= HAVE_NET_PROTO;
	}
	p->l4_length = end - p->l4_offset;
}

struct option_walk {
	struct packet *p;
	const __u8 *tcp;
};

/*
 * One option. Where the walk stands is kept in map memory: as a known number
 * it would make the verifier follow every sequence of lengths. Rules see
 * options behind an end mark too, as xt_tcpudp does; the tracker stops there
 * (RFC 9293 section 3.1).
 */
static long walk_option(__u32 n, struct option_walk *w)
{
	struct packet *p = w->p;
	__u32 i = p->option_at & 63, header = p->l4_header;
	__u8 kind, size;

	if (i >= header)
		return 1;
	kind = w->tcp[i];
	p->tcp_options[kind >> 6] |= 1ULL << (kind & 63);
	if (kind < 2) {
		if (kind == 0)
			p->options_ended = 1;
		p->option_at = i + 1;
		return 0;
	}
	if (i + 1 >= header)
		return 1;
	size = w->tcp[i + 1];
	p->option_at = i + (size ? size : 1) > 60 ? 63 : i + (size ? size : 1);
	if (size < 2 || i + size > header)
		p->options_ended = 1;
	if (p->options_ended)
		return 0;
	if (kind == 3 && size == 3) {
		p->tcp_scale = w->tcp[i + 2] > 14 ? 14 : w->tcp[i + 2];
	} else if (kind == 4 && size == 2) {
		p->tcp_sack_permitted = 1;
	} else if (kind == 5 && size >= 10 && (size - 2) % 8 == 0 && !p->tcp_sack_seen) {
		p->tcp_sack_seen = 1;
		for (__u32 b = 0; b < 4; b++) {
			__u32 edge;

			if (2 + b * 8 + 8 > size)
				break;
			edge = be32_at(w->tcp + i + 2 + b * 8 + 4);
			if ((__s32)(p->tcp_sack - edge) < 0)
				p->tcp_sack = edge;
		}
	}
	return 0;
}

static __always_inline void parse_tcp_options(struct packet *p, const __u8 *tcp)
{
	struct option_walk w = { .p = p, .tcp = tcp };

	/* Nearly every segment of a connection: two pads and a timestamp. */
	if (p->l4_header == 32 && be32_at(tcp + 20) == 0x0101080a) {
		p->tcp_options[0] = 1 << 1 | 1 << 8;
		return;
	}
	p->option_at = 20;
	bpf_loop(40, walk_option, &w, 0);
}

#include "nd.h"

static __always_inline void parse_transport(struct __sk_buff *skb, struct packet *p, const __u8 *l4,
					    bool options, bool nd)
{
	__u32 length = p->l4_length, header;

	switch (p->link_proto) {
	case PROTO_TCP:
		p->l4_header = 20;
		break;
	case PROTO_UDP:
	case PROTO_UDPLITE:
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		p->l4_header = 8;
		break;
	case PROTO_SCTP:
	case PROTO_DCCP:
		p->l4_header = 12;
		break;
	default:
		return;
	}
	if (p->link_proto == PROTO_ICMP || p->link_proto == PROTO_ICMPV6) {
		/* Rules that name type and code do not ask for more. */
		if (length < 2)
			return;
		p->have |= p->link_proto == PROTO_ICMP ? HAVE_ICMP : HAVE_ICMPV6;
		p->icmp_type = l4[0];
		p->icmp_code = l4[1];
		if (length >= 8)
			p->icmp_id = be16_at(l4 + 4);
		if (nd)
			parse_nd(skb, p, l4);
		return;
	}
	if (length < 4)
		return;
	p->have |= HAVE_PORTS;
	p->src_port = be16_at(l4);
	p->dst_port = be16_at(l4 + 2);
	if (p->link_proto == PROTO_UDP || p->link_proto == PROTO_UDPLITE) {
		if (length >= 8)
			p->udp_length = be16_at(l4 + 4);
		return;
	}
	if (p->link_proto != PROTO_TCP || length < 20)
		return;
	p->have |= HAVE_TCP;
	p->tcp_seq = be32_at(l4 + 4);
	p->tcp_ack = be32_at(l4 + 8);
	p->tcp_sack = p->tcp_ack;
	p->tcp_flags = l4[13];
	p->tcp_window = be16_at(l4 + 14);
	p->tcp_scale = 0xff;
	header = (l4[12] >> 4) * 4;
	p->l4_header = header;
	if (header < 20 || header > length)
		return;
	p->have |= HAVE_TCP_OPTIONS;
	if (options && header > 20)
		parse_tcp_options(p, l4);
}

/* `options`: whether anything looks at TCP options; `nd`: into neighbour
 * discovery. */
static __always_inline void parse_packet(struct __sk_buff *skb, struct packet *p, struct head *head,
					 bool options, bool nd)
{
	__u32 end = skb->len, length = end, offset = 14, l4;
	__u8 *bytes = head->bytes;

	__builtin_memset(p, 0, sizeof(*p));
	if (length > HEAD_BYTES)
		length = HEAD_BYTES;
	__builtin_memset(bytes, 0, HEAD_BYTES);
	if (length < 14 || bpf_skb_load_bytes(skb, 0, bytes, length) < 0) {
		p->malformed = UNREADABLE;
		return;
	}
	p->dst_mac = mac_at(bytes);
	p->src_mac = mac_at(bytes + 6);
	p->ethertype = be16_at(bytes + 12);
	if (skb->vlan_present) {
		/* The tag was taken out of the frame: the type behind it is left. */
		p->vlan_encap = p->ethertype;
		p->ethertype = bpf_ntohs(skb->vlan_proto);
		p->vlan_id = skb->vlan_tci & 0xfff;
		if (p->ethertype == 0x8100)
			p->have |= HAVE_VLAN;
		return;
	}
	switch (p->ethertype) {
	case 0x8100:
		if (length < 18)
			return;
		p->have |= HAVE_VLAN;
		p->vlan_id = be16_at(bytes + 14) & 0xfff;
		p->vlan_encap = be16_at(bytes + 16);
		return;
	case 0x0806:
	case 0x8035:
		parse_arp(p, bytes + 14, length - 14);
		return;
	case 0x0800:
		parse_ipv4(skb, p, bytes + offset, offset, end);
		break;
	case 0x86dd:
		parse_ipv6(skb, p, bytes + offset, offset, end);
		break;
	default:
		if (p->ethertype < 0x600)
			parse_stp(p, bytes + 14, length - 14);
		return;
	}
	if (p->malformed || !p->l4_offset || p->fragment == FRAGMENT_ORPHAN)
		return;
	l4 = p->l4_offset;
	if (l4 > HEAD_BYTES - L4_BYTES && length == HEAD_BYTES) {
		__u32 n = end - l4;

		if (n > L4_BYTES)
			n = L4_BYTES;
		__builtin_memset(bytes + HEAD_BYTES, 0, L4_BYTES);
		/* clang would make one test of this and the one above, from which Linux
		 * before 6.13 does not see that n is not 0. */
		barrier_var(n);
		if (n > 0 && bpf_skb_load_bytes(skb, l4, bytes + HEAD_BYTES, n) < 0) {
			p->malformed = UNREADABLE;
			return;
		}
		l4 = HEAD_BYTES;
	}
	parse_transport(skb, p, bytes + (l4 & 0xff), options, nd);
	if (p->fragment == FRAGMENT_FIRST && p->l4_length < p->l4_header)
		p->fragment = FRAGMENT_SHORT;
}

#endif
