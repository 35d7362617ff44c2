/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The records of followed control connections. Mirrors
 * internal/conntrack/stream.go, which says what is read.
 */
#ifndef TAPGATE_STREAM_H
#define TAPGATE_STREAM_H

#define FOLLOWED_CONNECTIONS	1024	/* of a port, at a time */
#define RECORD_TRIES		8
#define CHUNK			256	/* payload bytes fetched in one go */
#define MAX_EVENTS		16	/* of one packet: the last ones count */

/* One direction of a TCP connection. */
struct half {
	struct registers registers;
	__u32 next;		/* sequence number of the next byte, valid if known */
	__u32 known;
};

/*
 * A followed control connection. Programs on two CPUs may read segments of it
 * at once: each works on a copy of its direction and publishes it, under the
 * lock, only if that direction still is where it was. Who comes too late has
 * read nothing: either the same segment was read, or the next one finds a gap.
 *
 * A record that has to serve another connection is not deleted, since another
 * CPU may be waiting for its lock: `tag`, that of struct connection, tells.
 */
struct stream {
	struct bpf_spin_lock lock;
	__u32 tag;
	__u32 made;		/* announcements so far */
	__u32 invited, registering; /* numbers of SIP's latest invitation and registration */
	__u32 pad;
	struct conn_key master;
	struct half halves[2];
	struct announcement slots[SLOTS_OF_STREAM];
};

/* struct stream without its lock, which scratch memory must not hold. */
struct new_stream {
	__u8 bytes[sizeof(struct stream)] __attribute__((aligned(8)));
};

/* The records of a port are taken in turn; flow.stream names a connection's. */
struct record {
	__u32 port;
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct record);
	__type(value, struct stream);
} streams SEC(".maps");

/* The reading of one packet: too large for the stack. */
struct reading {
	struct half half;	/* the copy that the automaton works on */
	__u32 was_next, was_known;
	struct speaker who;
	struct record record;	/* of the connection */
	struct conn_key key;	/* of a record's connection */
	struct target target, old;
	struct place_of_target place;
	__u32 chosen, oldest;
	__u32 events;
	struct event begun;	/* complete or not */
	struct event event[MAX_EVENTS]; /* a ring */
	struct new_stream empty;
	__u8 chunk[CHUNK];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reading);
} readings SEC(".maps");

static __always_inline struct reading *get_reading(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&readings, &zero);
}

/* Whether the connection lives that the record is about. */
static __always_inline bool stream_lives(const struct conn_key *master, __u32 number, __u64 now)
{
	struct connection *c = conn_find(master, now);

	return c && READ_ONCE(c->flow.stream) == number + 1;
}

struct record_search {
	struct reading *reading;
	__u32 turn;
	__u64 now;
};

/* Looks for a record whose connection is over; the last try is the one whose
 * turn it is. */
static int record_try(__u32 i, struct record_search *search)
{
	struct reading *r = search->reading;
	struct stream *s;

	r->record.number = (search->turn + RECORD_TRIES - 1 - i) % FOLLOWED_CONNECTIONS;
	s = bpf_map_lookup_elem(&streams, &r->record);
	if (!s)
		return 1;
	bpf_spin_lock(&s->lock);
	r->key = s->master;
	bpf_spin_unlock(&s->lock);
	return !stream_lives(&r->key, r->record.number, search->now);
}

/* Puts the number of its record into the connection; false if another CPU was
 * first, or the entry serves another connection by now. */
static __always_inline bool stream_enter(struct connection *c, __u32 tag, __u16 old, __u32 number)
{
	struct conn_lock *lock = conn_lock(tag);
	bool first;

	if (!lock)
		return false;
	bpf_spin_lock(&lock->lock);
	first = c->tag == tag && c->flow.stream == old;
	if (first)
		c->flow.stream = number + 1;
	bpf_spin_unlock(&lock->lock);
	return first;
}

/* Gives the connection a record. Its number is left in r->record. */
static __always_inline struct stream *stream_claim(const struct track *t, struct connection *c, struct reading *r,
						   __u16 old, __u64 now)
{
	struct record_search search = { .reading = r, .now = now };
	struct port *port = bpf_map_lookup_elem(&ports, &t->key.port);
	struct stream *s;

	if (!port)
		return NULL;
	search.turn = __sync_fetch_and_add(&port->stream_turn, 1);
	bpf_loop(RECORD_TRIES, record_try, &search, 0);
	s = bpf_map_lookup_elem(&streams, &r->record);
	if (!s) {
		bpf_map_update_elem(&streams, &r->record, &r->empty, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&streams, &r->record);
		if (!s)
			return NULL;
	}
	bpf_spin_lock(&s->lock);
	s->tag = t->fresh.tag;
	s->master = t->key;
	s->invited = s->registering = 0;
	__builtin_memset(s->halves, 0, sizeof(s->halves));
#pragma unroll
	for (int i = 0; i < SLOTS_OF_STREAM; i++)
		s->slots[i].expires = 0;
	bpf_spin_unlock(&s->lock);
	return stream_enter(c, t->fresh.tag, old, r->record.number) ? s : NULL;
}

/* Finds the connection's record. `number` is flow.stream. */
static __always_inline struct stream *stream_find(const struct track *t, struct reading *r, __u16 number)
{
	struct stream *s;
	__u32 tag;

	r->record.port = t->key.port;
	r->record.number = number - 1;
	s = number ? bpf_map_lookup_elem(&streams, &r->record) : NULL;
	if (!s)
		return NULL;
	bpf_spin_lock(&s->lock);
	tag = s->tag;
	r->who.registered = s->slots[REGISTERING_SLOT].permanent && s->slots[REGISTERING_SLOT].expires ?
			    s->slots[REGISTERING_SLOT].target.dst_port : 0;
	bpf_spin_unlock(&s->lock);
	return tag == t->fresh.tag ? s : NULL;
}

/* The halves by constant index: a lock in the value forbids variable ones. */
static __always_inline struct half *stream_half(struct stream *s, bool reply)
{
	return reply ? &s->halves[1] : &s->halves[0];
}

/* What a connection tells its helper. */
struct followed {
	__u32 flags;		/* from before this packet */
	__u16 stream;
	bool liberal, same;
};

/* Marks the direction as begun, and lets the connection live as long as the
 * helper wants; not `same` if the entry serves another connection by now. */
static __always_inline void stream_begin(struct connection *c, __u32 tag, __u32 begun, __u64 expires,
					 struct followed *f)
{
	struct conn_lock *lock = conn_lock(tag);

	if (!lock)
		return;
	bpf_spin_lock(&lock->lock);
	f->flags = c->flow.flags;
	f->stream = c->flow.stream;
	f->liberal = begun && (c->flow.side[0].flags | c->flow.side[1].flags) & SIDE_LIBERAL;
	f->same = c->tag == tag;
	if (f->same && begun)
		c->flow.flags = f->flags | begun;
	if (f->same && expires)
		WRITE_ONCE(c->flow.expires, expires);
	bpf_spin_unlock(&lock->lock);
}

/* Copies the packet's direction, ready to read. */
static __always_inline void stream_follow(struct stream *s, const struct automaton *a, const struct followed *f,
					  bool reply, struct reading *r)
{
	bpf_spin_lock(&s->lock);
	r->half = *stream_half(s, reply);
	bpf_spin_unlock(&s->lock);
	r->was_next = r->half.next;
	r->was_known = r->half.known;
	if (!(f->flags & (reply ? CONN_BEGUN_REPLY : CONN_BEGUN_ORIGINAL))) {
		restart(&r->half.registers, f->liberal ? a->skip[reply] : a->start[reply]);
		r->half.known = 0;
	} else if (!r->half.known) { /* it had to give way in between */
		r->half.registers.state = a->skip[reply];
	}
}

/* Puts the direction's new state in place; false if another CPU came first. */
static __always_inline bool stream_publish(struct stream *s, __u32 tag, bool reply, struct reading *r)
{
	struct half *half = stream_half(s, reply);
	bool first;

	bpf_spin_lock(&s->lock);
	first = s->tag == tag && half->next == r->was_next && half->known == r->was_known;
	if (first)
		*half = r->half;
	bpf_spin_unlock(&s->lock);
	return first;
}

#endif
