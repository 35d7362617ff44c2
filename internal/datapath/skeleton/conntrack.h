/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Decides the state of packets as nf_conntrack does. Mirrors
 * internal/conntrack/table.go and transport.go step by step; the reasons are
 * there.
 */
#ifndef TAPGATE_CONNTRACK_H
#define TAPGATE_CONNTRACK_H

#include "tcp.h"
#include "sctp.h"
#include "conn_key.h"

#define UDP_STREAM_AGE		(2 * SECOND)

#include "conn_find.h"
#include "queue.h"

/* What makes no sense to the tracker in the transport header. */
static __always_inline enum invalid header_fault(struct __sk_buff *skb, struct packet *p, struct track *t)
{
	bool fits = p->fragment == FRAGMENT_FIRST || p->udp_length <= p->l4_length;
	__u16 checksum;

	switch (p->link_proto) {
	case PROTO_TCP:
		if (!(p->have & HAVE_TCP_OPTIONS))
			return INVALID_HEADER;
		return tcp_event(p->tcp_flags) == EVENT_NONE ? INVALID_TCP_FLAGS : NOT_INVALID;
	case PROTO_UDP:
		if (p->l4_length < 8)
			return INVALID_HEADER;
		return p->udp_length < 8 || !fits ? INVALID_LENGTH : NOT_INVALID;
	case PROTO_UDPLITE:
		if (p->l4_length < 8)
			return INVALID_HEADER;
		if ((p->udp_length && (p->udp_length < 8 || !fits)) ||
		    bpf_skb_load_bytes(skb, p->l4_offset + 6, &checksum, 2) < 0 || !checksum)
			return INVALID_LENGTH;
		return NOT_INVALID;
	case PROTO_SCTP:
		if (p->l4_length < SCTP_HEADER)
			return INVALID_HEADER;
		return sctp_read(skb, p, &t->sctp) ? NOT_INVALID : INVALID_SCTP_CHUNKS;
	}
	return NOT_INVALID;
}

static __always_inline __u32 conn_direction(__u32 flags, __u8 ends)
{
	return ends == SAME_ENDS || (ends == FROM_B) != !!(flags & CONN_ORIGIN_B);
}

/* How long a connection that is neither TCP nor SCTP lives on, and the flags that it gets. */
static __always_inline __u64 conn_timeout(struct packet *p, __u64 created, __u32 flags, __u32 *add)
{
	const struct config *config = config_of(p);
	bool replied = flags & CONN_SEEN_REPLY;
	__u64 timeout, stream;

	if (!config)
		return 0;
	switch (p->link_proto) {
	case PROTO_UDP:
		replied = replied && (__s64)(p->now - created) > (__s64)UDP_STREAM_AGE;
		timeout = config->timeouts.udp;
		stream = config->timeouts.udp_stream;
		break;
	case PROTO_UDPLITE:
		timeout = config->timeouts.udplite;
		stream = config->timeouts.udplite_stream;
		break;
	case PROTO_GRE:
		timeout = config->timeouts.gre;
		stream = config->timeouts.gre_stream;
		break;
	case PROTO_ICMP:
		return config->timeouts.icmp;
	case PROTO_ICMPV6:
		return config->timeouts.icmpv6;
	default:
		return config->timeouts.generic;
	}
	if (!replied)
		return timeout;
	*add |= CONN_ASSURED;
	return stream;
}

static __always_inline __u8 conn_state(__u32 flags, __u32 dir)
{
	if (dir || flags & CONN_SEEN_REPLY)
		return STATE_ESTABLISHED;
	return flags & CONN_EXPECTED ? STATE_RELATED : STATE_NEW;
}

enum known {
	KNOWN,		/* judged */
	UNKNOWN,	/* no such connection, or no more */
};

static __always_inline void conn_judged(struct packet *p, __u32 flags, __u32 dir)
{
	p->state = conn_state(flags, dir);
	p->direction = DIRECTION_ORIGINAL << dir;
	p->invalid = NOT_INVALID;
}

static __always_inline void conn_invalid(struct packet *p, __u32 why)
{
	p->state = STATE_INVALID;
	p->direction = 0;
	p->invalid = why;
}

/* Puts a connection that may be given up into the queue. */
static __always_inline void conn_queue(struct track *t, struct connection *c, struct conn_lock *lock, struct port *port)
{
	__u32 ticket = queue_join(port, &t->key);

	if (!ticket)
		return;
	bpf_spin_lock(&lock->lock);
	if (c->tag == t->fresh.tag && !c->flow.ticket && flow_spare(&c->flow)) {
		c->flow.ticket = ticket;
		ticket = 0;
	}
	bpf_spin_unlock(&lock->lock);
	queue_leave(port, t->key.port, ticket);
}

/* Keeps the queue in step: `left` is a ticket that the connection had. */
static __noinline int conn_requeue(struct track *t, struct connection *c, struct conn_lock *lock, __u32 left)
{
	struct port *port = bpf_map_lookup_elem(&ports, &t->key.port);

	if (!port)
		return 0;
	if (left)
		queue_leave(port, t->key.port, left);
	else
		conn_queue(t, c, lock, port);
	return 0;
}

static __noinline enum known known_tcp(struct packet *p, struct track *t, struct connection *c,
				       struct conn_lock *lock, __u32 length)
{
	const struct config *config = config_of(p);
	enum known known = UNKNOWN;
	__u32 dir, left = 0;
	bool spare, joins = false;

	if (!config)
		return UNKNOWN;
	tcp_segment_read(p, &t->segment);
	bpf_spin_lock(&lock->lock);
	if (c->tag == t->fresh.tag && p->now < c->flow.expires) {
		if (features.helpers)
			t->helper = c->flow.helper;
		dir = conn_direction(c->flow.flags, t->ends);
		conn_judged(p, c->flow.flags, dir);
		dir = forget(&t->segment, dir);
		switch (tcp_packet(&c->flow, &t->segment, dir, &config->timeouts)) {
		case TCP_VERDICT_REOPEN:
			c->flow.expires = p->now;
			break;
		case TCP_VERDICT_INVALID:
			conn_invalid(p, t->segment.invalid);
			known = KNOWN;
			break;
		default:
			if (dir)
				c->flow.flags |= CONN_SEEN_REPLY;
			c->flow.packets[dir & 1]++;
			c->flow.bytes[dir & 1] += length;
			known = KNOWN;
		}
		spare = flow_spare(&c->flow);
		joins = spare && !c->flow.ticket;
		if (!spare) {
			left = c->flow.ticket;
			c->flow.ticket = 0;
		}
	}
	bpf_spin_unlock(&lock->lock);
	if (left || joins)
		conn_requeue(t, c, lock, left);
	return known;
}

static __noinline enum known known_sctp(struct packet *p, struct track *t, struct connection *c,
					struct conn_lock *lock, __u32 length)
{
	const struct config *config = config_of(p);
	volatile __u8 *direction = &t->sctp.direction;
	enum known known = UNKNOWN;
	__u32 dir;

	if (!config)
		return UNKNOWN;
	bpf_spin_lock(&lock->lock);
	if (c->tag == t->fresh.tag && p->now < c->flow.expires) {
		known = KNOWN;
		*direction = conn_direction(c->flow.flags, t->ends);
		conn_judged(p, c->flow.flags, *direction);
		dir = *direction;
		if (sctp_judge(&c->flow, &t->sctp, dir, &config->timeouts) == SCTP_VERDICT_INVALID) {
			conn_invalid(p, t->sctp.invalid);
		} else {
			if (dir)
				c->flow.flags |= CONN_SEEN_REPLY;
			c->flow.packets[dir & 1]++;
			c->flow.bytes[dir & 1] += length;
		}
	}
	bpf_spin_unlock(&lock->lock);
	return known;
}

static __always_inline enum known known_other(struct packet *p, struct track *t, struct connection *c, __u32 length)
{
	__u32 flags, dir, add;

	if (!conn_live(c, t->fresh.tag, p->now))
		return UNKNOWN;
	flags = READ_ONCE(c->flow.flags);
	if (features.helpers)
		t->helper = c->flow.helper;
	dir = conn_direction(flags, t->ends);
	add = dir ? CONN_SEEN_REPLY : 0;
	WRITE_ONCE(c->flow.expires, p->now + conn_timeout(p, c->flow.created, flags, &add));
	if (add & ~flags)
		__sync_fetch_and_or(&c->flow.flags, add);
	__sync_fetch_and_add(&c->flow.packets[dir & 1], 1);
	__sync_fetch_and_add(&c->flow.bytes[dir & 1], length);
	conn_judged(p, flags, dir);
	return KNOWN;
}

/* An error about a connection goes the way of an answer to what it quotes. */
static __always_inline void conn_judge_error(struct packet *p, struct track *t, struct connection *c)
{
	__u8 ends = t->ends == SAME_ENDS ? SAME_ENDS : t->ends ^ 1;

	if (!conn_live(c, t->fresh.tag, p->now))
		return;
	p->state = STATE_RELATED;
	p->invalid = NOT_INVALID;
	p->direction = DIRECTION_ORIGINAL << conn_direction(READ_ONCE(c->flow.flags), ends);
}

/* A packet without a connection, whose header may have a fault (enum invalid).
 * A global function, which is verified once. */
__noinline int conn_open(struct packet *p, struct track *t, __u32 fault, __u32 length)
{
	const struct config *config;
	struct flow *f;
	__u32 flags;

	if (!p || !t)
		return 0;
	config = config_of(p);
	if (!config)
		return 0;
	f = &t->fresh.flow;
	flags = (t->ends == FROM_B ? CONN_ORIGIN_B : 0) | CONN_OUT * (p->out & 1);
	conn_invalid(p, t->answer ? INVALID_ICMP_ANSWER : fault);
	if (t->answer)
		return 0;
	__builtin_memset(f, 0, sizeof(*f));
	/* An announcement is used up even by a packet that turns out invalid. */
	if (features.helpers) {
		if (expectation_take(p, t))
			flags |= CONN_EXPECTED;
		else
			f->helper = helper_of_service(p, config);
	}
	/* By way of memory: the verifier is not to follow each kind. */
	WRITE_ONCE(f->flags, flags);
	if (fault)
		return 0;
	f->created = p->now;
	if (p->link_proto == PROTO_TCP) {
		tcp_segment_read(p, &t->segment);
		p->invalid = INVALID_TCP_OPENING;
		if (!tcp_open(f, &t->segment, config))
			return 0;
	} else if (p->link_proto == PROTO_SCTP) {
		p->invalid = INVALID_SCTP_OPENING;
		if (!sctp_open(f, &t->sctp, &config->timeouts))
			return 0;
	} else {
		f->expires = p->now + conn_timeout(p, p->now, 0, &flags);
	}
	f->packets[0] = 1;
	f->bytes[0] = length;
	t->pending = 1;
	t->helper = f->helper;
	conn_judged(p, READ_ONCE(f->flags), 0);
	return 0;
}

/*
 * Sets the packet's state and direction and updates its connection. Not for
 * later fragments: they share the state of their first. conn_commit() must
 * follow unless a rule drops the packet.
 */
static __always_inline void conn_classify(struct __sk_buff *skb, struct packet *p, struct track *t)
{
	__u32 length = skb->len;
	struct connection *c;
	struct conn_lock *lock;
	enum invalid fault;
	void *shard;

	p->state = 0;
	p->direction = 0;
	p->invalid = NOT_INVALID;
	t->pending = 0;
	t->helper = 0;
	if (!p->family)
		return;
	conn_invalid(p, INVALID_HEADER);
	if (!(p->have & HAVE_LINK_PROTO) || !key_of_packet(skb, p, t))
		return;
	t->fresh.tag = conn_tag(&t->key);
	shard = conn_shard(t->fresh.tag);
	lock = conn_lock(t->fresh.tag);
	if (!shard || !lock)
		return;
	/* By way of memory: the verifier is not to follow each cause. */
	WRITE_ONCE(p->invalid, header_fault(skb, p, t));
	fault = READ_ONCE(p->invalid);
	c = bpf_map_lookup_elem(shard, &t->key);
	if (t->quoted) {
		p->invalid = INVALID_ICMP_ERROR;
		if (c)
			conn_judge_error(p, t, c);
		return;
	}
	if (c) {
		enum known known = UNKNOWN;

		p->invalid = fault;
		if (fault)
			known = conn_live(c, t->fresh.tag, p->now) ? KNOWN : UNKNOWN;
		else if (p->link_proto == PROTO_TCP)
			known = known_tcp(p, t, c, lock, length);
		else if (p->link_proto == PROTO_SCTP)
			known = known_sctp(p, t, c, lock, length);
		else
			known = known_other(p, t, c, length);
		if (known == KNOWN)
			return;
	}
	conn_open(p, t, fault, length);
}

#endif
