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

/* Only what is complete may take the place of an event in a full ring. */
static __always_inline void event_add(struct reading *r)
{
	r->event[r->events++ % MAX_EVENTS] = r->begun;
}

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
	if (feed(&r->half.registers, segment->automaton, &r->who, r->chunk[i % CHUNK], &r->begun))
		event_add(r);
	return 0;
}

/* Whether the end of the packet ends a message and its last line. */
static __always_inline bool segment_ends(struct packet *p, struct reading *r)
{
	return p->link_proto != PROTO_TCP && r->who.dead == NO_STATE;
}

/* Who speaks. The port is set already. */
static __always_inline void speaker_of_packet(struct speaker *who, struct packet *p, const struct automaton *a)
{
	__u32 reply = p->direction == DIRECTION_REPLY;

	who->address[0] = p->src_ip[0];
	who->address[1] = p->src_ip[1];
	who->peer[0] = p->dst_ip[0];
	who->peer[1] = p->dst_ip[1];
	who->family = p->family;
	who->proto = p->link_proto;
	who->start = a->start[reply];
	who->skip = a->skip[reply];
	who->dead = a->dead;
}

/* Feeds the payload's new bytes to the automaton that stands in r->half, and
 * leaves the events in r->event. A global function, which is verified once; to
 * such none can hand the automaton, which is read-only. */
__noinline int segment_read(struct __sk_buff *skb, struct packet *p, struct reading *r, __u32 helper, __u32 length)
{
	const struct automaton *a = automaton_of(helper);
	struct segment segment = { .skb = skb, .reading = r, .automaton = a, .length = length };
	struct half *half;

	if (!p || !r || !a)
		return 0;
	half = &r->half;
	segment.offset = p->l4_offset + p->l4_header;
	speaker_of_packet(&r->who, p, a);
	r->events = 0;
	if (half->known) {
		__u32 old = half->next - p->tcp_seq; /* modulo 2^32 */

		if ((__s32)old < 0) {
			restart(&half->registers, r->who.skip);
		} else if (old >= length) {
			return 0;
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
	    message_understand(&half->registers, &r->who, &r->begun, ACTION_FINISH))
		event_add(r);
	return 0;
}

#endif
