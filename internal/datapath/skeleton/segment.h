/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Reading one segment's payload. Mirrors half.read() of
 * internal/conntrack/stream.go. */
#ifndef TAPGATE_SEGMENT_H
#define TAPGATE_SEGMENT_H

#define MAX_SEGMENT	65535	/* a longer one counts as a gap */

struct segment {
	struct __sk_buff *skb;
	struct reading *reading;
	const struct automaton *automaton;
	__u32 offset, length;	/* of the new bytes */
};

static int segment_byte(__u32 i, struct segment *segment)
{
	struct reading *r = segment->reading;
	__u32 n = segment->length - i;
	__u16 port;

	if (i % CHUNK == 0) {
		if (n > CHUNK)
			n = CHUNK;
		/* The verifier must see the test of the value that is used. */
		asm volatile("" : "+r"(n));
		if (!n || bpf_skb_load_bytes(segment->skb, segment->offset + i, r->chunk, n) < 0) {
			restart(&r->half.registers, r->who.skip);
			return 1;
		}
	}
	port = feed(&r->half.registers, segment->automaton, &r->who, r->chunk[i % CHUNK]);
	if (port)
		r->port = port;
	return 0;
}

/* Feeds the payload's new bytes; false if it has none. */
static __always_inline bool segment_read(struct __sk_buff *skb, struct packet *p, struct reading *r,
					 __u32 helper)
{
	struct segment segment = {
		.skb = skb,
		.reading = r,
		.offset = p->l4_offset + p->l4_header,
		.length = p->l4_length - p->l4_header,
	};
	struct half *half = &r->half;
	__u32 end = p->tcp_seq + segment.length;

	segment.automaton = bpf_map_lookup_elem(&automata, &helper);
	if (!segment.automaton)
		return false;
	r->port = 0;
	r->who.address[0] = p->src_ip[0];
	r->who.address[1] = p->src_ip[1];
	r->who.family = p->family;
	r->who.skip = AUTOMATON_SKIP + (p->direction == DIRECTION_REPLY);
	if (half->known) {
		__u32 old = half->next - p->tcp_seq; /* modulo 2^32 */

		if ((__s32)old < 0) {
			restart(&half->registers, r->who.skip);
		} else if (old >= segment.length) {
			return false;
		} else {
			segment.offset += old;
			segment.length -= old;
		}
	}
	half->next = end;
	half->known = 1;
	if (segment.length > MAX_SEGMENT)
		restart(&half->registers, r->who.skip);
	else
		bpf_loop(segment.length, segment_byte, &segment, 0);
	return true;
}

#endif
