/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The SCTP machine. Mirrors internal/conntrack/sctp.go step by step; the
 * reasons are there. */
#ifndef TAPGATE_SCTP_H
#define TAPGATE_SCTP_H

#include "sctp_table.h"

#define SCTP_HEADER	12
#define CHUNK_HEADER	4
#define INIT_HEADER	16
#define MAX_CHUNKS	4096
#define CHUNK_T		0x10	/* the T bit, beside an enum sctp_chunk */

/* Volatile for the verifier's sake, as TCP's machine is (tcp.h). */
typedef volatile struct sctp_packet sctp_packet;

struct chunk_walk {
	struct __sk_buff *skb;
	sctp_packet *s;
};

/* One chunk; returns 1 to stop. */
static long walk_chunk(__u32 n, struct chunk_walk *w)
{
	sctp_packet *s = w->s;
	__u32 at = s->at, size;
	__u8 h[CHUNK_HEADER], chunk = CHUNK_OTHER;

	if (at + CHUNK_HEADER > s->end)
		return 1;
	s->malformed = 1;
	if (bpf_skb_load_bytes(w->skb, at, h, CHUNK_HEADER) < 0)
		return 1;
	if (h[0] < sizeof(sctp_chunks))
		chunk = sctp_chunks[h[0]];
	size = be16_at(h + 2);
	s->seen |= CHUNK_SET(chunk & 15);
	if (!size || (n && (s->seen & ALONE_CHUNKS || CHUNK_SET(chunk & 15) & FIRST_CHUNKS)))
		return 1;
	if (chunk == CHUNK_INIT || chunk == CHUNK_INIT_ACK) {
		__u32 tag;

		if (at + CHUNK_HEADER + INIT_HEADER > s->end ||
		    bpf_skb_load_bytes(w->skb, at + CHUNK_HEADER, &tag, sizeof(tag)) < 0)
			return 1;
		s->init_tag = tag;
	}
	if (chunk != CHUNK_OTHER && chunk != CHUNK_DATA) {
		if (s->controls >= MAX_CONTROLS)
			return 1;
		s->control[s->controls % MAX_CONTROLS] = chunk | (h[1] & 1 ? CHUNK_T : 0);
		s->controls++;
	}
	s->at = at + ((size + 3) & ~3U);
	s->malformed = 0;
	return 0;
}

/* Reads the packet's chunks; false if no host sends such. Tags stay in network
 * byte order: they are only compared. */
static __always_inline bool sctp_read(struct __sk_buff *skb, struct packet *p, sctp_packet *s)
{
	struct chunk_walk w = { .skb = skb, .s = s };
	__u32 tag;

	s->now = p->now;
	s->at = p->l4_offset + SCTP_HEADER;
	s->end = p->l4_offset + p->l4_length;
	s->init_tag = 0;
	s->seen = 0;
	s->controls = 0;
	s->malformed = 0;
	if (p->l4_length < SCTP_HEADER || bpf_skb_load_bytes(skb, p->l4_offset + 4, &tag, sizeof(tag)) < 0)
		return false;
	s->tags[TAG_NONE] = 0;
	s->tags[TAG_PACKET] = tag;
	bpf_loop(MAX_CHUNKS, walk_chunk, &w, 0);
	return !s->malformed && s->seen && s->at + CHUNK_HEADER > s->end;
}

/* HEARTBEAT and its answer tell tags, too. */
static __always_inline enum sctp_verdict sctp_heartbeat(sctp_packet *s, __u32 dir)
{
	__u32 own = TAG_OF(dir & 1), known = s->tags[own], tag = s->tags[TAG_PACKET];

	if (known == 0) {
		s->tags[own] = tag;
		return SCTP_VERDICT_ACCEPT;
	}
	if (known == tag) {
		s->probe = 0;
		return SCTP_VERDICT_ACCEPT;
	}
	if (s->seen & CHUNK_SET(CHUNK_DATA) || s->verdict == SCTP_VERDICT_IGNORE)
		return SCTP_VERDICT_INVALID;
	if (s->chunk == CHUNK_HEARTBEAT) {
		s->probe = 1 + dir;
		return SCTP_VERDICT_IGNORE;
	}
	if (s->probe != 2 - dir)
		return SCTP_VERDICT_INVALID;
	s->probe = 0;
	s->tags[own] = tag;
	s->tags[TAG_OF((dir & 1) ^ 1)] = 0;
	return SCTP_VERDICT_ACCEPT;
}

/* The machine works on a copy in scratch memory. */
static __always_inline void sctp_load(struct flow *f, sctp_packet *s)
{
	s->state = f->state;
	s->tags[TAG_OF(0)] = f->sctp.tag[0];
	s->tags[TAG_OF(1)] = f->sctp.tag[1];
	s->init = f->sctp.init;
	s->probe = f->sctp.probe;
}

static __always_inline void sctp_store(struct flow *f, sctp_packet *s)
{
	f->state = s->state;
	f->sctp.tag[0] = s->tags[TAG_OF(0)];
	f->sctp.tag[1] = s->tags[TAG_OF(1)];
	f->sctp.init = s->init;
	f->sctp.probe = s->probe;
}

/* Whether the packet has the tag that s->chunk asks for, and the chunk may come
 * now: s->next is the state then. */
static __always_inline bool sctp_moves(sctp_packet *s, __u32 reflected, __u32 dir)
{
	__u32 asked = sctp_asked[dir & 1][reflected][s->chunk & 15];

	if (s->tags[TAG_PACKET] != s->tags[asked & 3])
		return false;
	s->next = sctp_next[dir & 1][s->chunk & 15][s->state & 15];
	if (s->next != SCTP_INVALID)
		return true;
	s->invalid = INVALID_SCTP_STATE;
	return false;
}

/* INIT and INIT-ACK, which come alone (walk_chunk), announce the tag of the
 * other direction's packets. */
static __always_inline enum sctp_verdict sctp_announce(sctp_packet *s, __u32 dir)
{
	__u32 own = 1U << (dir & 1), peer = own ^ 3, other = TAG_OF((dir & 1) ^ 1);
	__u32 old = s->state;

	s->chunk = s->control[0] & 15;
	if (!sctp_moves(s, 0, dir))
		return SCTP_VERDICT_INVALID;
	if (s->chunk == CHUNK_INIT) {
		if (old == SCTP_NONE || s->init_tag != s->tags[other])
			s->init = s->init & own ? own : s->init | own;
		if (old == SCTP_CLOSED && s->next == SCTP_CLOSED)
			s->verdict = SCTP_VERDICT_IGNORE;
	} else if (s->init_tag != s->tags[other] && (s->init & peer ? s->init & own : s->tags[other])) {
		return SCTP_VERDICT_INVALID;
	}
	s->tags[other] = s->init_tag;
	s->state = s->next;
	return s->verdict;
}

/* One other chunk that the table knows; false: it is invalid. */
static __always_inline bool sctp_control(sctp_packet *s, __u8 control, __u32 dir)
{
	s->chunk = control & 15;
	if (CHUNK_SET(control & 15) & HEARTBEAT_CHUNKS) {
		enum sctp_verdict verdict = sctp_heartbeat(s, dir);

		if (verdict == SCTP_VERDICT_INVALID)
			return false;
		if (verdict == SCTP_VERDICT_IGNORE) {
			s->verdict = SCTP_VERDICT_IGNORE;
			return true;
		}
	}
	if (!sctp_moves(s, control / CHUNK_T & 1, dir))
		return false;
	if (s->chunk == CHUNK_COOKIE_ACK)
		s->init = 0;
	s->reached |= 1 << (s->next & 15);
	s->state = s->next;
	return true;
}

/* Judges a packet, and takes it in: what the chunks before an invalid one have
 * told stays. No calls in here: a lock may be held. */
static __always_inline enum sctp_verdict sctp_take(sctp_packet *s, __u32 dir)
{
	s->verdict = SCTP_VERDICT_ACCEPT;
	s->reached = 0;
	s->invalid = INVALID_SCTP_TAG;
	if (!(s->seen & EXEMPT_CHUNKS) && s->tags[TAG_PACKET] != s->tags[TAG_OF(dir & 1)])
		return SCTP_VERDICT_INVALID;
	if (s->seen & ANNOUNCING_CHUNKS)
		return sctp_announce(s, dir);
	for (__u32 i = 0; i < MAX_CONTROLS; i++) {
		if (i >= s->controls)
			break;
		if (!sctp_control(s, s->control[i], dir))
			return SCTP_VERDICT_INVALID;
	}
	return s->verdict;
}

/* Starts an association in a zeroed flow; false: the packet cannot. */
static __always_inline bool sctp_open(struct flow *f, sctp_packet *s, const struct timeouts *timeouts)
{
	if (s->seen & MID_CHUNKS)
		return false;
	s->state = SCTP_NONE;
	s->tags[TAG_OF(0)] = s->seen & CHUNK_SET(CHUNK_HEARTBEAT) ? s->tags[TAG_PACKET] : 0;
	s->tags[TAG_OF(1)] = s->seen & CHUNK_SET(CHUNK_SHUTDOWN_ACK) ? s->tags[TAG_PACKET] : 0;
	s->init = 0;
	s->probe = 0;
	if (sctp_take(s, 0) != SCTP_VERDICT_ACCEPT)
		return false;
	sctp_store(f, s);
	f->expires = s->now + timeouts->sctp[s->state & 15];
	return true;
}

/* A packet of a live association, under its lock: no calls in here. */
static __always_inline enum sctp_verdict sctp_judge(struct flow *f, sctp_packet *s, __u32 dir,
						     const struct timeouts *timeouts)
{
	enum sctp_verdict verdict;

	sctp_load(f, s);
	verdict = sctp_take(s, dir);
	if (s->reached & 1 << SCTP_ESTABLISHED) /* what was so before is assured already */
		f->flags |= CONN_ASSURED;
	sctp_store(f, s);
	if (verdict == SCTP_VERDICT_ACCEPT)
		f->expires = s->now + timeouts->sctp[s->state & 15];
	return verdict;
}

#endif
