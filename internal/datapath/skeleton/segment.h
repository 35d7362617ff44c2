/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Reading one packet's payload. Mirrors half.read() of
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

	if (r->half.registers.state == r->who.dead)
		return 1;
	if (!n) { /* behind a datagram */
		r->chunk[i % CHUNK] = '\n';
	} else if (i % CHUNK == 0) {
		if (n > CHUNK)
			n = CHUNK;
		/* The verifier must see the test of the value that is used. */
		asm volatile("" : "+r"(n));
		if (!n || bpf_skb_load_bytes(segment->skb, segment->offset + i, r->chunk, n) < 0) {
			restart(&r->half.registers, r->who.skip);
			return 1;
		}
	}
	if (feed(&r->half.registers, segment->automaton, &r->who, r->chunk[i % CHUNK],
		 &r->event[r->events % MAX_EVENTS]))
		r->events++;
	return 0;
}

/* Whether the end of the packet ends a message and its last line. */
static __always_inline bool segment_ends(struct packet *p, struct reading *r)
{
	return p->link_proto != PROTO_TCP && r->who.dead == NO_STATE;
}

/* Feeds the payload's new bytes to the automaton that stands in r->half, and
 * leaves the events in r->event. */
static __always_inline void segment_read(struct __sk_buff *skb, struct packet *p, struct reading *r,
					 const struct automaton *a, __u32 length)
{
	struct segment segment = {
		.skb = skb,
		.reading = r,
		.automaton = a,
		.offset = p->l4_offset + p->l4_header,
		.length = length,
	};
	struct half *half = &r->half;

	if (half->known) {
		__u32 old = half->next - p->tcp_seq; /* modulo 2^32 */

		if ((__s32)old < 0) {
			restart(&half->registers, r->who.skip);
		} else if (old >= length) {
			return;
		} else {
			segment.offset += old;
			segment.length -= old;
		}
	}
	half->next = p->tcp_seq + length;
	half->known = 1;
	if (segment.length > MAX_SEGMENT)
		restart(&half->registers, r->who.skip);
	else
		bpf_loop(segment.length + segment_ends(p, r), segment_byte, &segment, 0);
	if (segment_ends(p, r) &&
	    message_understand(&half->registers, &r->who, &r->event[r->events % MAX_EVENTS], ACTION_FINISH))
		r->events++;
}

#endif
