/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Readers of control protocols: what an accepted control connection announces
 * becomes an expectation, and the packet that it admits opens a RELATED
 * connection. Mirrors internal/conntrack/stream.go and expectation.go.
 */
#ifndef TAPGATE_HELPER_H
#define TAPGATE_HELPER_H

#include "conn_find.h"
#include "tcp.h"
#include "automaton.h"
#include "expectation.h"
#include "stream.h"
#include "segment.h"

/* The helper for a connection that the packet opens unannounced. */
static __always_inline __u8 helper_of_service(struct packet *p, const struct config *config)
{
	if (!(p->have & HAVE_PORTS))
		return HELPER_NONE;
	for (int i = 0; i < MAX_SERVICES; i++)
		if (config->services[i].proto == p->link_proto && config->services[i].port == p->dst_port)
			return config->services[i].helper;
	return HELPER_NONE;
}

/* Takes the announcement of r->target, if it stands: its control connection's
 * key is left in r->key. */
static __always_inline bool target_take(struct track *t, struct reading *r, __u64 now)
{
	struct place_of_target *at = bpf_map_lookup_elem(&expectations, &r->target);
	struct announcement *a;
	struct connection *master;
	struct stream *s;
	bool stands;
	__u32 slot;

	if (!at)
		return false;
	r->record.port = r->target.port;
	r->record.number = at->record;
	slot = at->slot;
	s = bpf_map_lookup_elem(&streams, &r->record);
	if (!s || slot >= SLOTS_OF_STREAM)
		return false;
	a = &s->slots[slot];
	bpf_spin_lock(&s->lock);
	stands = now < a->expires && !a->waiting && same_words(&a->target, &r->target, sizeof(r->target));
	if (stands) {
		if (!a->permanent)
			a->expires = 0;
		t->fresh.flow.helper = a->reader;
		r->key = s->master;
	}
	bpf_spin_unlock(&s->lock);
	if (!stands)
		return false;
	master = conn_find(&r->key, now);
	if (!master || READ_ONCE(master->flow.stream) != r->record.number + 1)
		return false;
	t->fresh.flow.announced_by = master->flow.helper;
	return true;
}

/* Tells whether a helper announced the connection that the packet would open.
 * The expectation is used up by it, whatever becomes of the packet. Only TCP
 * connections are ever expected from anyone. */
static __always_inline bool expectation_take(struct packet *p, struct track *t)
{
	struct reading *r = get_reading();

	if (!r || !(p->have & HAVE_PORTS))
		return false;
	target_of_packet(&r->target, p, t->key.port);
	if (target_take(t, r, p->now))
		return true;
	if (p->link_proto != PROTO_TCP)
		return false;
	target_from_anyone(&r->target);
	return target_take(t, r, p->now);
}

/* Notes the control connection of an expected one that has been put into the
 * table, or that the entry's last one had its own. */
static __always_inline void expectation_note(const struct track *t, __u32 flags_before)
{
	struct reading *r = get_reading();

	if (t->fresh.flow.flags & CONN_EXPECTED) {
		if (r)
			bpf_map_update_elem(&related, &t->key, &r->key, BPF_ANY);
	} else if (flags_before & CONN_EXPECTED) {
		bpf_map_delete_elem(&related, &t->key);
	}
}

/* How many bytes of payload the helper may read. */
static __always_inline __u32 control_length(struct packet *p)
{
	__u32 end = p->l4_length;

	if (!p->direction || p->fragment != FRAGMENT_NONE)
		return 0;
	if (p->link_proto == PROTO_TCP) {
		if (p->state != STATE_ESTABLISHED || !(p->have & HAVE_TCP_OPTIONS) ||
		    p->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_RST))
			return 0;
	} else if (p->link_proto != PROTO_UDP) {
		return 0;
	} else if (p->udp_length < end) {
		end = p->udp_length;
	}
	return end > p->l4_header ? end - p->l4_header : 0;
}

/* The slot for r->target: that of the same target, or else the first that is
 * free, or else the oldest. Called under the lock. */
static __always_inline __u32 slot_choose(struct stream *s, struct reading *r, __u32 first, __u32 slots, __u64 now)
{
	volatile __u32 *chosen = &r->chosen, *oldest = &r->oldest;

	*chosen = first;
	*oldest = ~0U;
#pragma unroll
	for (__u32 i = 0; i < SLOTS_OF_STREAM; i++) {
		struct announcement *a = &s->slots[i];
		__u32 made = now < a->expires ? a->made : 0;

		if (i - first >= slots)
			continue;
		if (same_words(&a->target, &r->target, sizeof(r->target))) {
			*chosen = i;
			break;
		}
		if (made < *oldest) {
			*chosen = i;
			*oldest = made;
		}
	}
	return *chosen;
}

struct applying {
	struct packet *packet;
	struct track *track;
	struct reading *reading;
	const struct automaton *automaton;
	struct stream *stream;
	bool expected;		/* the connection is */
};

/* Takes back all that was announced to be used once. */
static __always_inline void retract_media(struct stream *s)
{
#pragma unroll
	for (int i = 0; i < SLOTS_OF_STREAM; i++)
		if (!s->slots[i].permanent)
			s->slots[i].expires = 0;
}

/* What an event does besides announcing. Called under the lock. */
static __always_inline void event_apply(struct stream *s, const struct event *e, const struct packet *p)
{
	struct announcement *slot = &s->slots[REGISTERING_SLOT];
	bool agreed;

	switch (e->op) {
	case OP_INVITE:
		s->invited = e->number;
		retract_media(s);
		break;
	case OP_FAILED:
		if (s->invited != e->number)
			break;
		/* fallthrough */
	case OP_BYE:
		retract_media(s);
		break;
	case OP_REGISTER:
		s->registering = e->number;
		break;
	case OP_REGISTERED:
	case OP_REFUSED:
		if (s->registering != e->number || !slot->permanent || p->now >= slot->expires)
			break;
		agreed = e->op == OP_REGISTERED && slot->target.dst_port == e->port &&
			 slot->target.dst_ip[0] == p->dst_ip[0] && slot->target.dst_ip[1] == p->dst_ip[1];
		slot->waiting = !agreed;
		slot->expires = agreed ? p->now + e->lifetime * SECOND : 0;
		break;
	}
}

/* Lets an event of the ring take effect; two turns each, since some announce
 * two ports. */
static int event_turn(__u32 turn, struct applying *x)
{
	struct reading *r = x->reading;
	__u32 i = turn / 2, second = turn % 2;
	struct event *e = &r->event[(r->events > MAX_EVENTS ? r->events + i : i) % MAX_EVENTS];
	const struct kind *k = &x->automaton->kinds[e->kind % AUTOMATON_KINDS];
	__u64 now = x->packet->now, expires = now + k->lifetime * SECOND;
	bool registers = e->op == OP_REGISTER, paired = k->flags & KIND_PAIRED, announces, ours, stays;
	__u32 first = k->first, slots = k->slots, slot = SLOTS_OF_STREAM;
	__u8 reader = k->reader, permanent = !!(k->flags & KIND_REGISTERING);
	__u16 port = paired ? (e->port & ~1) + second : e->port;
	struct stream *s = x->stream;
	struct announcement *a;

	if (registers && x->expected) /* what a registration opened registers nothing */
		return 0;
	announces = e->op == OP_EXPECT || (registers && e->lifetime);
	if (second && !(announces && paired))
		return 0;
	target_of_kind(&r->target, x->packet, r->record.port, k, port);
	bpf_spin_lock(&s->lock);
	ours = s->tag == x->track->fresh.tag;
	if (ours)
		event_apply(s, e, x->packet);
	if (ours && announces)
		slot = slot_choose(s, r, first, slots, now);
	if (slot < SLOTS_OF_STREAM) {
		a = &s->slots[slot];
		r->old = a->target;
		a->target = r->target;
		a->expires = expires;
		a->made = ++s->made;
		a->reader = reader;
		a->permanent = a->waiting = permanent;
	}
	bpf_spin_unlock(&s->lock);
	if (slot >= SLOTS_OF_STREAM)
		return !ours;
	r->place.record = r->record.number;
	r->place.slot = slot;
	if (!same_words(&r->old, &r->target, sizeof(r->old)))
		expectation_forget(&r->old, &r->place);
	bpf_map_update_elem(&expectations, &r->target, &r->place, BPF_ANY);
	/* Another CPU may have given the slot away in between, and have looked for
	 * an entry that was not there yet. */
	a = &s->slots[slot];
	bpf_spin_lock(&s->lock);
	stays = same_words(&a->target, &r->target, sizeof(r->target));
	bpf_spin_unlock(&s->lock);
	if (!stays)
		expectation_forget(&r->target, &r->place);
	return 0;
}

/* Reads the payload of a packet that every stage has accepted. */
static __always_inline void helper_watch(struct __sk_buff *skb, struct packet *p, struct track *t)
{
	bool reply = p->direction == DIRECTION_REPLY, tcp = p->link_proto == PROTO_TCP;
	const struct automaton *a = automaton_of(t->helper);
	struct applying x = { .packet = p, .track = t, .automaton = a };
	__u32 length = control_length(p), events;
	struct reading *r = get_reading();
	struct followed f = {};
	struct connection *c;

	if (!r || !a || !(a->reads & p->direction) || !length)
		return;
	c = conn_find(&t->key, p->now);
	if (!c)
		return;
	stream_begin(c, t->fresh.tag, !tcp ? 0 : reply ? CONN_BEGUN_REPLY : CONN_BEGUN_ORIGINAL,
		     a->timeout ? p->now + a->timeout * SECOND : 0, &f);
	if (!f.same)
		return;
	r->who.registered = 0;
	x.stream = stream_find(t, r, f.stream);
	if (tcp) {
		if (!x.stream)
			x.stream = stream_claim(t, c, r, f.stream, p->now);
		if (!x.stream)
			return;
		stream_follow(x.stream, a, &f, reply, r);
	} else {
		restart(&r->half.registers, a->start[reply]);
		r->half.known = 0;
	}
	r->who.port = f.flags & CONN_ORIGIN_B ? t->key.b_port : t->key.a_port;
	segment_read(skb, p, r, t->helper, length);
	if (tcp && (!x.stream || !stream_publish(x.stream, t->fresh.tag, reply, r)))
		return;
	if (a->dead != NO_STATE && r->half.registers.state != a->dead)
		return; /* the datagram ended before its message */
	events = r->events;
	if (!events)
		return;
	if (!x.stream)
		x.stream = stream_claim(t, c, r, f.stream, p->now);
	x.reading = r;
	x.expected = f.flags & CONN_EXPECTED;
	if (x.stream)
		bpf_loop(2 * (events < MAX_EVENTS ? events : MAX_EVENTS), event_turn, &x, 0);
}

#endif
