/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Readers of control protocols: what an accepted control connection announces
 * becomes an expectation, and the packet that it admits opens a RELATED
 * connection.
 */
#ifndef TAPGATE_HELPER_H
#define TAPGATE_HELPER_H

/* Finds a live connection: the tracker's. */
static __always_inline struct connection *conn_find(const struct conn_key *key, __u64 now);
static __always_inline struct conn_lock *conn_lock(__u32 tag);

#include "tcp.h"
#include "automaton.h"
#include "expectation.h"
#include "stream.h"
#include "segment.h"

#define FTP_PORT	21
#define FTP_LIFETIME	(300 * SECOND)

/* Whether the master lives and the target is its latest announcement. The
 * unlocked comparison may see half of a new announcement, and then fails. */
static __always_inline bool expectation_stands(const struct target *t, const struct conn_key *master, __u64 now)
{
	struct connection *c = conn_find(master, now);
	struct stream *s;

	if (!c || !(c->flow.flags & CONN_BEGUN))
		return false;
	s = bpf_map_lookup_elem(&streams, master);
	return s && same_words(&s->announce, t, sizeof(*t));
}

/* Tells whether a helper announced the connection that the packet would open.
 * The expectation is used up by it, whatever becomes of the packet. */
static __always_inline bool expectation_take(struct packet *p, struct track *t)
{
	struct expectation *e;
	struct reading *r;

	if (!config.helpers || !(p->have & HAVE_PORTS))
		return false;
	r = get_reading();
	if (!r)
		return false;
	target_set(&r->target, p, t->key.port, p->src_ip, p->dst_ip, p->dst_port);
	e = bpf_map_lookup_elem(&expectations, &r->target);
	if (!e)
		return false;
	r->expectation = *e;
	/* Of two packets only one deletes it. */
	if (bpf_map_delete_elem(&expectations, &r->target))
		return false;
	return p->now < r->expectation.expires &&
	       expectation_stands(&r->target, &r->expectation.master, p->now);
}

/* Whether the packet carries payload of a stream that the helper reads. */
static __always_inline bool helper_concerned(struct packet *p)
{
	__u16 service = p->direction == DIRECTION_ORIGINAL ? p->dst_port : p->src_port;

	return p->link_proto == PROTO_TCP && p->state == STATE_ESTABLISHED && p->direction &&
	       p->fragment == FRAGMENT_NONE && p->have & HAVE_TCP_OPTIONS &&
	       !(p->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_RST)) && service == FTP_PORT &&
	       p->l4_length > p->l4_header;
}

/*
 * Reads the payload of a packet that every stage has accepted. Both of FTP's
 * ways expect the listener's peer: PORT and EPRT the server at the client's
 * port, 227 and 229 the client at the server's.
 */
static __always_inline void helper_watch(struct __sk_buff *skb, struct packet *p, struct track *t)
{
	struct reading *r;
	struct stream *s;

	if (!config.helpers || !helper_concerned(p))
		return;
	r = get_reading();
	if (!r)
		return;
	s = stream_follow(p, t, r);
	if (!s || !segment_read(skb, p, r, HELPER_FTP))
		return;
	target_set(&r->target, p, t->key.port, p->dst_ip, p->src_ip, r->port);
	if (!stream_publish(s, t->fresh.tag, p, r) || !r->port)
		return;
	if (r->old.dst_port)
		expectation_remove(&r->old, &t->key);
	expectation_add(&r->target, &t->key, &r->expectation, p->now + FTP_LIFETIME);
}

#endif
