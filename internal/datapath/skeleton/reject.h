/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Answers to rejected packets: a TCP segment gets RST (RFC 9293 section
 * 3.10.7.1), everything else ICMP or ICMPv6 port unreachable, in the name of
 * the destination. The packet itself is made into its answer and sent back to
 * where it came from. Mirrors internal/reject.
 */
#ifndef TAPGATE_REJECT_H
#define TAPGATE_REJECT_H

#include "bucket.h"

#define ETH_HEADER	14
#define IPV4_HEADER	20
#define IPV6_HEADER	40
#define ANSWER_TTL	64

/* The quote fills an ICMP answer up to what every host takes: 576 bytes (RFC
 * 1812 section 4.3.2.3), 1280 bytes (RFC 4443 section 2.4 c). */
#define QUOTE4 (576 - IPV4_HEADER - ICMP_HEADER)
#define QUOTE6 (1280 - IPV6_HEADER - ICMP_HEADER)

/* Sums of one call: kernels before 6.13 take no more. */
#define SUM_BYTES	512

/*
 * A transport checksum that the sender left to its network card is finished
 * behind our program, inside the answer. The kernel forgets about it when the
 * bytes in front of which it stands are cut off: the answer is made that much
 * longer, and cut off.
 */
#define CUT_BYTES	512

/* 100 answers a second for a port and direction, 50 at once. */
#define ANSWER_INTERVAL	(SECOND / 100)
#define ANSWER_BURST	50

/* An answer is put together here; the IP header is aligned. */
struct answer {
	__u8 pad[2];
	__u8 bytes[2174];	/* masked places in the quote stay inside */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer);
} answer SEC(".maps");

/* Recognises an answer of the port's other program. Nobody else knows the
 * mark, and nobody sees it behind this. */
static __always_inline bool answer_passes(struct __sk_buff *skb, __u64 mark)
{
	if (!mark || skb->cb[0] != (__u32)mark || skb->cb[1] != (__u32)(mark >> 32))
		return false;
	skb->cb[0] = 0;
	skb->cb[1] = 0;
	return true;
}

#define MAC_GROUP (1ULL << 40)

static __always_inline bool ipv4_single(__u32 ip)
{
	__u32 net = ip >> 24;

	return net != 0 && net != 127 && net < 224;
}

static __always_inline bool ipv6_single(const __u64 *ip)
{
	return ip[0] >> 56 != 0xff && (ip[0] || ip[1] > 1);
}

/* RFC 1122 section 3.2.2: no answer to an ICMP error, nor to what is none for
 * certain; types up to 18 are known to the kernel. */
static __always_inline bool icmp_answerable(struct packet *p)
{
	__u8 type = p->icmp_type;

	if (p->link_proto == PROTO_ICMP && p->family == 4)
		return p->have & HAVE_ICMP && type <= 18 &&
		       type != 3 && type != 4 && type != 5 && type != 11 && type != 12;
	if (p->link_proto == PROTO_ICMPV6 && p->family == 6)
		return p->have & HAVE_ICMPV6 && type >= 128 && type != ICMPV6_REDIRECT;
	return true;
}

static __always_inline bool tcp_answerable(struct packet *p)
{
	return p->link_proto != PROTO_TCP ||
	       (p->fragment == FRAGMENT_NONE && p->have & HAVE_TCP_OPTIONS && !(p->tcp_flags & TCP_FLAG_RST));
}

/* Whether a packet may be answered at all (RFC 1122 section 3.2.2, RFC 1812
 * section 4.3.2.7, RFC 4443 section 2.4 e). What a bridge floods to a guest
 * that it is not for must not be answered in another one's name. */
static __always_inline bool answerable(struct packet *p, __u64 mac)
{
	if ((p->src_mac | p->dst_mac) & MAC_GROUP || (!p->out && p->dst_mac != mac))
		return false;
	if (p->fragment > FRAGMENT_FIRST || !p->l4_offset || p->l4_offset >= CUT_BYTES)
		return false;
	if (p->family == 4) {
		if (!ipv4_single(p->src_ip[1]) || !ipv4_single(p->dst_ip[1]))
			return false;
	} else if (!ipv6_single(p->src_ip) || !ipv6_single(p->dst_ip) || is_extension(p->link_proto)) {
		return false;
	}
	return icmp_answerable(p) && tcp_answerable(p);
}

static __always_inline __u16 fold(__s64 sum)
{
	__u64 s = (__u32)sum;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

/* Adds n bytes, rounded up to words; there are at most three rounds' worth. */
static __always_inline __s64 add_up(__u8 *at, __u32 n, __s64 sum)
{
	n = (n + 3) & ~3;
	for (__u32 from = 0; from < 3 * SUM_BYTES; from += SUM_BYTES) {
		__u32 part;

		if (n <= from)
			break;
		part = n - from;
		if (part > SUM_BYTES)
			part = SUM_BYTES;
		barrier_var(part);
		if (part > SUM_BYTES)
			break;
		sum = bpf_csum_diff(0, 0, (__be32 *)(at + from), part, sum);
	}
	return sum;
}

static __always_inline void put16(__u8 *at, __u16 v)
{
	*(__u16 *)at = bpf_htons(v);
}

static __always_inline void put32(__u8 *at, __u32 v)
{
	*(__u32 *)at = bpf_htonl(v);
}

/* The Ethernet header, with the addresses exchanged. */
static __always_inline void answer_ethernet(__u8 *b, const __u8 *from)
{
	__builtin_memcpy(b, from + 6, 6);
	__builtin_memcpy(b + 6, from, 6);
	__builtin_memcpy(b + 12, from + 12, 2);
}

/* The IP header around `length` bytes. Gives the sum of the pseudo-header. */
static __always_inline __s64 answer_ipv4(__u8 *ip, const __u8 *from, __u8 proto, __u32 length)
{
	__s64 sum;

	put32(ip, 0x45000000 | (IPV4_HEADER + length));
	/* An ICMP error has precedence 6 and the TOS of what it is about (RFC
	 * 1812 section 4.3.2.5). */
	if (proto == PROTO_ICMP)
		ip[1] = 0xc0 | (from[1] & 0x1e);
	put32(ip + 4, 0x4000);	/* don't fragment: needs no ID (RFC 6864) */
	put32(ip + 8, ANSWER_TTL << 24 | proto << 16);
	__builtin_memcpy(ip + 12, from + 16, 4);
	__builtin_memcpy(ip + 16, from + 12, 4);
	sum = bpf_csum_diff(0, 0, (__be32 *)ip, IPV4_HEADER, 0);
	*(__u16 *)(ip + 10) = fold(sum);
	return bpf_csum_diff(0, 0, (__be32 *)(ip + 12), 8, bpf_htonl(proto << 16 | length));
}

static __always_inline __s64 answer_ipv6(__u8 *ip, const __u8 *from, __u8 proto, __u32 length)
{
	put32(ip, 0x60000000);
	put32(ip + 4, length << 16 | proto << 8 | ANSWER_TTL);
	__builtin_memcpy(ip + 8, from + 24, 16);
	__builtin_memcpy(ip + 24, from + 8, 16);
	return bpf_csum_diff(0, 0, (__be32 *)(ip + 8), 32, bpf_htonl(proto << 16 | length));
}

/* As the kernel's REJECT numbers it: a segment with an acknowledgement tells
 * the sequence number that its sender waits for; the answer to another one
 * acknowledges it. */
static __always_inline void answer_tcp(__u8 *tcp, struct packet *p, __s64 sum)
{
	__u32 ack = p->tcp_seq + p->l4_length - p->l4_header;

	if (p->tcp_flags & TCP_FLAG_SYN)
		ack++;
	if (p->tcp_flags & TCP_FLAG_FIN)
		ack++;
	put16(tcp, p->dst_port);
	put16(tcp + 2, p->src_port);
	if (p->tcp_flags & TCP_FLAG_ACK) {
		put32(tcp + 4, p->tcp_ack);
		put32(tcp + 8, 0);
		put32(tcp + 12, 0x5000 << 16 | TCP_FLAG_RST << 16);
	} else {
		put32(tcp + 4, 0);
		put32(tcp + 8, ack);
		put32(tcp + 12, 0x5000 << 16 | (TCP_FLAG_RST | TCP_FLAG_ACK) << 16);
	}
	put32(tcp + 16, 0);
	sum = bpf_csum_diff(0, 0, (__be32 *)tcp, TCP_HEADER, sum);
	*(__u16 *)(tcp + 16) = fold(sum);
}

/* Copies n bytes of the packet, from its IP header on, to the quote. */
static __always_inline bool quote(struct __sk_buff *skb, __u8 *to, __u32 n)
{
	*(__u32 *)(to + (n & 0x7fc)) = 0;	/* for the sum */
	if (n > QUOTE6)
		return false;
	barrier_var(n);	/* as in parse_packet */
	return n > 0 && bpf_skb_load_bytes(skb, IP_OFFSET, to, n) == 0;
}

/* Writes the answer; 0 if that cannot be done, else its length. */
static __always_inline __u32 answer_write(struct __sk_buff *skb, struct packet *p, const __u8 *from, __u8 *b)
{
	__u32 n = p->l4_offset + p->l4_length - IP_OFFSET;
	__u8 *icmp;
	__s64 sum;

	answer_ethernet(b, from);
	from += IP_OFFSET;
	if (p->link_proto == PROTO_TCP) {
		if (p->family == 4) {
			sum = answer_ipv4(b + IP_OFFSET, from, PROTO_TCP, TCP_HEADER);
			answer_tcp(b + IP_OFFSET + IPV4_HEADER, p, sum);
			return ETH_HEADER + IPV4_HEADER + TCP_HEADER;
		}
		sum = answer_ipv6(b + IP_OFFSET, from, PROTO_TCP, TCP_HEADER);
		answer_tcp(b + IP_OFFSET + IPV6_HEADER, p, sum);
		return ETH_HEADER + IPV6_HEADER + TCP_HEADER;
	}
	if (p->family == 4) {
		if (n > QUOTE4)
			n = QUOTE4;
		icmp = b + IP_OFFSET + IPV4_HEADER;
		put32(icmp, 3 << 24 | 3 << 16);
		put32(icmp + 4, 0);
		if (!quote(skb, icmp + ICMP_HEADER, n))
			return 0;
		answer_ipv4(b + IP_OFFSET, from, PROTO_ICMP, ICMP_HEADER + n);
		*(__u16 *)(icmp + 2) = fold(add_up(icmp, ICMP_HEADER + n, 0));
		return ETH_HEADER + IPV4_HEADER + ICMP_HEADER + n;
	}
	if (n > QUOTE6)
		n = QUOTE6;
	icmp = b + IP_OFFSET + IPV6_HEADER;
	put32(icmp, 1 << 24 | 4 << 16);
	put32(icmp + 4, 0);
	if (!quote(skb, icmp + ICMP_HEADER, n))
		return 0;
	sum = answer_ipv6(b + IP_OFFSET, from, PROTO_ICMPV6, ICMP_HEADER + n);
	*(__u16 *)(icmp + 2) = fold(add_up(icmp, ICMP_HEADER + n, sum));
	return ETH_HEADER + IPV6_HEADER + ICMP_HEADER + n;
}

/* Makes the packet into its answer. Growing or trimming makes it linear and no
 * longer merged; what cannot be changed is dropped like any other. */
static __always_inline bool answer_replace(struct __sk_buff *skb, __u8 *b, __u32 length)
{
	if (bpf_skb_change_tail(skb, length + CUT_BYTES, 0) < 0 ||
	    bpf_skb_adjust_room(skb, -CUT_BYTES, BPF_ADJ_ROOM_MAC, 0) < 0)
		return false;
	barrier_var(length);
	return length > 0 && length <= ETH_HEADER + 1280 && bpf_skb_store_bytes(skb, 0, b, length, BPF_F_INVALIDATE_HASH) == 0;
}

/* Answers a rejected packet. Gives the program's result: the packet itself
 * goes nowhere. */
static __always_inline int reject_packet(struct __sk_buff *skb, struct packet *p, struct head *head)
{
	__u32 zero = 0, out = p->out, length;
	struct port *port = bpf_map_lookup_elem(&ports, &p->port);
	struct answer *a = bpf_map_lookup_elem(&answer, &zero);
	const struct config *config = config_of(p);
	struct answers *counts;

	if (!port || !a || !config || !answerable(p, config->mac))
		return TC_DROP;
	counts = &port->answers[out & 1];
	if (!take_token(&counts->next, p->now, ANSWER_INTERVAL, (ANSWER_BURST - 1) * ANSWER_INTERVAL)) {
		__sync_fetch_and_add(&counts->suppressed, 1);
		return TC_DROP;
	}
	length = answer_write(skb, p, head->bytes, a->bytes);
	if (!length || !answer_replace(skb, a->bytes, length))
		return TC_DROP;
	__sync_fetch_and_add(&counts->sent, 1);
	skb->cb[0] = (__u32)config->mark;
	skb->cb[1] = (__u32)(config->mark >> 32);
	/* Back to where it came from: what the device received goes out on it,
	 * what it was to transmit comes in. */
	return bpf_redirect(skb->ifindex, out == config->swapped ? BPF_F_INGRESS : 0);
}

#endif
