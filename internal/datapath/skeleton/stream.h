/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Following the two directions of a control connection. Mirrors
 * internal/conntrack/stream.go, which says what is read.
 */
#ifndef TAPGATE_STREAM_H
#define TAPGATE_STREAM_H

#define FOLLOWED_CONNECTIONS	1024	/* of a port, at a time */
#define SLOT_TRIES		8
#define CHUNK			256	/* payload bytes fetched in one go */

/* One direction. */
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
 * The memory of a deleted record may serve another connection at once: `tag`,
 * that of struct connection, tells.
 */
struct stream {
	struct bpf_spin_lock lock;
	__u32 tag;
	struct half halves[2];
	struct target announce;	/* what it announced last; zero: nothing */
};

/* struct stream without its lock, which scratch memory must not hold. */
struct new_stream {
	__u32 lock;
	__u32 tag;
	struct half halves[2];
	struct target announce;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct conn_key);
	__type(value, struct stream);
} streams SEC(".maps");

/* The followed connections of a port: a new one takes the next slot. */
struct slot {
	__u32 port;
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct slot);
	__type(value, struct conn_key);
} stream_slots SEC(".maps");

/* The reading of one segment: too large for the stack. */
struct reading {
	struct half half;	/* the copy that the automaton works on */
	__u32 was_next, was_known;
	struct speaker who;
	struct conn_key key;	/* of the connection that has the slot */
	struct target old;	/* expectation to take back */
	struct target target;
	struct expectation expectation;
	struct new_stream fresh;
	__u16 port;		/* announced last in this segment, or 0 */
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

/* Takes back the stream's expectation, if it has one. `master` is its key. */
static __always_inline void stream_retract(struct stream *s, const struct conn_key *master, struct reading *r)
{
	bpf_spin_lock(&s->lock);
	r->old = s->announce;
	__builtin_memset(&s->announce, 0, sizeof(s->announce));
	bpf_spin_unlock(&s->lock);
	if (r->old.dst_port)
		expectation_remove(&r->old, master);
}

struct slot_search {
	struct reading *reading;
	struct slot slot;
	__u32 turn;
	__u64 now;
};

/* Looks for a slot whose connection is over; the last try is the slot whose
 * turn it is. */
static int slot_try(__u32 i, struct slot_search *search)
{
	struct reading *r = search->reading;
	struct conn_key *held;

	search->slot.number = (search->turn + SLOT_TRIES - 1 - i) % FOLLOWED_CONNECTIONS;
	held = bpf_map_lookup_elem(&stream_slots, &search->slot);
	if (!held) {
		__builtin_memset(&r->key, 0, sizeof(r->key));
		return 1;
	}
	r->key = *held;
	return !conn_find(&r->key, search->now);
}

/* Makes room for one more stream of the port: slots are taken in turn, but
 * those of connections that are over, if there are any just ahead, first. */
static __always_inline bool slot_claim(const struct conn_key *key, struct reading *r, __u64 now)
{
	struct slot_search search = { .reading = r, .slot.port = key->port, .now = now };
	struct port *port = bpf_map_lookup_elem(&ports, &key->port);
	struct stream *old;

	if (!port)
		return false;
	search.turn = __sync_fetch_and_add(&port->stream_turn, 1);
	bpf_loop(SLOT_TRIES, slot_try, &search, 0);
	old = bpf_map_lookup_elem(&streams, &r->key);
	if (old) {
		stream_retract(old, &r->key, r);
		bpf_map_delete_elem(&streams, &r->key);
	}
	return bpf_map_update_elem(&stream_slots, &search.slot, key, BPF_ANY) == 0;
}

static __always_inline struct stream *stream_get(const struct track *t, struct reading *r, __u64 now)
{
	const struct conn_key *key = &t->key;
	struct stream *s = bpf_map_lookup_elem(&streams, key);

	if (s)
		return s;
	if (!slot_claim(key, r, now))
		return NULL;
	__builtin_memset(&r->fresh, 0, sizeof(r->fresh));
	r->fresh.tag = t->fresh.tag;
	bpf_map_update_elem(&streams, key, &r->fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&streams, key);
}

/* The halves by constant index: a lock in the value forbids variable ones. */
static __always_inline struct half *stream_half(struct stream *s, bool reply)
{
	return reply ? &s->halves[1] : &s->halves[0];
}

/* Marks the direction as begun; false if the entry serves another connection
 * by now. `flags` are the connection's from before. */
static __always_inline bool stream_begin(struct connection *c, __u32 tag, bool reply, __u32 *flags,
					 bool *liberal)
{
	struct conn_lock *lock = conn_lock(tag);
	bool same;

	if (!lock)
		return false;
	bpf_spin_lock(&lock->lock);
	*flags = c->flow.flags;
	*liberal = (c->flow.side[0].flags | c->flow.side[1].flags) & SIDE_LIBERAL;
	same = c->tag == tag;
	if (same)
		c->flow.flags = *flags | (reply ? CONN_BEGUN_REPLY : CONN_BEGUN_ORIGINAL);
	bpf_spin_unlock(&lock->lock);
	return same;
}

/* Finds or makes the connection's record and copies the packet's direction,
 * ready to read. */
static __always_inline struct stream *stream_follow(struct packet *p, const struct track *t,
						    struct reading *r)
{
	bool reply = p->direction == DIRECTION_REPLY, liberal;
	struct connection *c = conn_find(&t->key, p->now);
	struct stream *s;
	__u32 flags;

	if (!c || !stream_begin(c, t->fresh.tag, reply, &flags, &liberal))
		return NULL;
	s = stream_get(t, r, p->now);
	if (!s)
		return NULL;
	if (!(flags & CONN_BEGUN)) /* the record may be of an earlier connection */
		stream_retract(s, &t->key, r);
	bpf_spin_lock(&s->lock);
	r->half = *stream_half(s, reply);
	bpf_spin_unlock(&s->lock);
	r->was_next = r->half.next;
	r->was_known = r->half.known;
	if (!(flags & (reply ? CONN_BEGUN_REPLY : CONN_BEGUN_ORIGINAL))) {
		restart(&r->half.registers, (liberal ? AUTOMATON_SKIP : AUTOMATON_LINE) + reply);
		r->half.known = 0;
	} else if (!r->half.known) { /* it had to give way in between */
		r->half.registers.state = AUTOMATON_SKIP + reply;
	}
	return s;
}

/* Puts the direction's new state in place, and what the segment announced;
 * false if another CPU came first. */
static __always_inline bool stream_publish(struct stream *s, __u32 tag, struct packet *p, struct reading *r)
{
	struct half *half = stream_half(s, p->direction == DIRECTION_REPLY);
	bool first;

	bpf_spin_lock(&s->lock);
	first = s->tag == tag && half->next == r->was_next && half->known == r->was_known;
	if (first) {
		*half = r->half;
		if (r->port) {
			r->old = s->announce;
			s->announce = r->target;
		}
	}
	bpf_spin_unlock(&s->lock);
	return first;
}

#endif
