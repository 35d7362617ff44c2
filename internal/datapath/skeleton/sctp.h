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
typedef volatile struct sctp_flow sctp_flow;

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
	s->tag = tag;
	bpf_loop(MAX_CHUNKS, walk_chunk, &w, 0);
	return !s->malformed && s->seen && s->at + CHUNK_HEADER > s->end;
}

/* HEARTBEAT and its answer tell tags, too. */
static __always_inline enum sctp_verdict sctp_heartbeat(sctp_packet *s, __u32 chunk, __u32 dir)
{
	sctp_flow *x = &s->next;

	if (x->tag[dir & 1] == 0) {
		x->tag[dir & 1] = s->tag;
		return SCTP_VERDICT_ACCEPT;
	}
	if (x->tag[dir & 1] == s->tag) {
		x->probe = 0;
		return SCTP_VERDICT_ACCEPT;
	}
	if (s->seen & CHUNK_SET(CHUNK_DATA) || s->verdict == SCTP_VERDICT_IGNORE)
		return SCTP_VERDICT_INVALID;
	if (chunk == CHUNK_HEARTBEAT) {
		x->probe = 1 + dir;
		return SCTP_VERDICT_IGNORE;
	}
	if (x->probe != 2 - dir)
		return SCTP_VERDICT_INVALID;
	x->probe = 0;
	x->tag[dir & 1] = s->tag;
	x->tag[(dir & 1) ^ 1] = 0;
	return SCTP_VERDICT_ACCEPT;
}

/* Whether the packet has the tag that one of its chunks asks for. */
static __always_inline enum sctp_verdict sctp_judge_tag(sctp_packet *s, __u32 control, __u32 dir)
{
	__u32 chunk = control & 15, want;

	switch (chunk) {
	case CHUNK_HEARTBEAT:
	case CHUNK_HEARTBEAT_ACK:
		return sctp_heartbeat(s, chunk, dir);
	case CHUNK_INIT:
		want = 0;
		break;
	case CHUNK_ABORT:
	case CHUNK_SHUTDOWN_COMPLETE:
		want = s->next.tag[(dir ^ (control & CHUNK_T ? 1 : 0)) & 1];
		break;
	case CHUNK_COOKIE_ECHO:
		want = s->next.tag[dir & 1];
		break;
	default:
		return SCTP_VERDICT_ACCEPT;
	}
	return s->tag == want ? SCTP_VERDICT_ACCEPT : SCTP_VERDICT_INVALID;
}

/* INIT and INIT-ACK announce the tag of the other direction's packets; false
 * if that cannot be. */
static __always_inline bool sctp_announce(sctp_packet *s, __u32 chunk, __u32 dir)
{
	__u32 own = 1U << (dir & 1), peer = own ^ 3, known;
	sctp_flow *x = &s->next;

	known = x->tag[(dir & 1) ^ 1];
	if (chunk == CHUNK_INIT) {
		if (s->state == SCTP_NONE || s->init_tag != known)
			x->init = x->init & own ? own : x->init | own;
	} else if (chunk == CHUNK_INIT_ACK) {
		if (s->init_tag != known && (x->init & peer ? x->init & own : known))
			return false;
	} else {
		if (chunk == CHUNK_COOKIE_ACK)
			x->init = 0;
		return true;
	}
	x->tag[(dir & 1) ^ 1] = s->init_tag;
	return true;
}

/* The machine works on a copy in scratch memory. */
static __always_inline void sctp_load(struct flow *f, sctp_packet *s)
{
	s->state = f->state;
	s->next.tag[0] = f->sctp.tag[0];
	s->next.tag[1] = f->sctp.tag[1];
	s->next.init = f->sctp.init;
	s->next.probe = f->sctp.probe;
}

static __always_inline void sctp_store(struct flow *f, sctp_packet *s)
{
	f->state = s->state;
	f->sctp.tag[0] = s->next.tag[0];
	f->sctp.tag[1] = s->next.tag[1];
	f->sctp.init = s->next.init;
	f->sctp.probe = s->next.probe;
}

/* One chunk that the table knows; false: it is invalid. */
static __always_inline bool sctp_control(sctp_packet *s, __u32 control, __u32 dir)
{
	__u32 chunk = control & 15, old = s->state, next;

	switch (sctp_judge_tag(s, control, dir)) {
	case SCTP_VERDICT_INVALID:
		return false;
	case SCTP_VERDICT_IGNORE:
		s->verdict = SCTP_VERDICT_IGNORE;
		return true;
	default:
		break;
	}
	next = sctp_next[dir & 1][chunk][old & 15];
	if (next == SCTP_INVALID) {
		s->invalid = INVALID_SCTP_STATE;
		return false;
	}
	if (!sctp_announce(s, chunk, dir))
		return false;
	if (chunk == CHUNK_INIT && old == SCTP_CLOSED && next == SCTP_CLOSED)
		s->verdict = SCTP_VERDICT_IGNORE;
	if (next == SCTP_ESTABLISHED && old != SCTP_ESTABLISHED)
		s->assured = 1;
	s->state = next;
	return true;
}

/* Judges a packet, and takes it in: what the chunks before an invalid one have
 * told stays. No calls in here: a lock may be held. */
static __always_inline enum sctp_verdict sctp_take(sctp_packet *s, __u32 dir)
{
	s->verdict = SCTP_VERDICT_ACCEPT;
	s->assured = 0;
	s->invalid = INVALID_SCTP_TAG;
	if (!(s->seen & EXEMPT_CHUNKS) && s->tag != s->next.tag[dir & 1])
		return SCTP_VERDICT_INVALID;
	for (__u32 i = 0; i < MAX_CONTROLS; i++) {
		if (i >= s->controls)
			break;
		if (!sctp_control(s, s->control[i], dir))
			return SCTP_VERDICT_INVALID;
	}
	return s->verdict;
}

/* Starts an association in a zeroed flow; false: the packet cannot. */
static __always_inline bool sctp_open(struct flow *f, sctp_packet *s)
{
	sctp_flow *x = &s->next;

	if (s->seen & MID_CHUNKS)
		return false;
	s->state = SCTP_NONE;
	x->tag[0] = s->seen & CHUNK_SET(CHUNK_HEARTBEAT) ? s->tag : 0;
	x->tag[1] = s->seen & CHUNK_SET(CHUNK_SHUTDOWN_ACK) ? s->tag : 0;
	x->init = 0;
	x->probe = 0;
	if (sctp_take(s, 0) != SCTP_VERDICT_ACCEPT)
		return false;
	sctp_store(f, s);
	f->expires = s->now + config.timeouts.sctp[s->state & 15];
	return true;
}

/* A packet of a live association, under its lock: no calls in here. */
static __always_inline enum sctp_verdict sctp_judge(struct flow *f, sctp_packet *s, __u32 dir)
{
	enum sctp_verdict verdict;

	sctp_load(f, s);
	verdict = sctp_take(s, dir);
	if (s->assured)
		f->flags |= CONN_ASSURED;
	sctp_store(f, s);
	if (verdict == SCTP_VERDICT_ACCEPT)
		f->expires = s->now + config.timeouts.sctp[s->state & 15];
	return verdict;
}

#endif
