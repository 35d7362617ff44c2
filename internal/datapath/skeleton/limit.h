/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * connlimit-above: how many live connections a source has opened that a rule
 * saw. Mirrors internal/conntrack/limit.go, which says what counts.
 *
 * Nothing is counted down: a place whose connection has ended is free for the
 * next. The packet that opens a connection takes its place before it has met
 * its fate, so that another CPU counts it already, and gives it back if it is
 * dropped.
 */
#ifndef TAPGATE_LIMIT_H
#define TAPGATE_LIMIT_H

#define MAX_LIMIT	1000
#define MAX_LIMITS_MET	16

/* What count_limit() returns beside VERDICT_FULL and VERDICT_RACE. */
#define LIMIT_WITHIN	0
#define LIMIT_EXCEEDED	1

struct met {
	__u64 limit, number;
};

/* One packet's count, and the places that it has taken; per CPU. */
struct limiting {
	struct place place;
	struct conn_key member;
	struct new_counted fresh;	/* the packet's own connection */
	__u64 now;
	__u64 created;			/* of the member */
	__u64 counted_by;		/* of the packet's own connection */
	__u32 above, live;
	__u32 quota;			/* of the port's places */
	__u32 free, free_tag, version;	/* the first place that is free */
	__u8 has_free, missing;		/* `missing`: it is behind the last */
	__u8 own, found, raced;
	__u8 pad[7];
	__u32 taken;
	struct met met[MAX_LIMITS_MET];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limiting);
} limiting SEC(".maps");

static __always_inline struct limiting *get_limiting(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&limiting, &zero);
}

static __always_inline bool flow_counts(struct connection *c, __u8 proto)
{
	__u8 state = READ_ONCE(c->flow.state);

	return proto != PROTO_TCP || (state != TCP_TIME_WAIT && state != TCP_CLOSE);
}

/* Whether the member still is what was counted. */
static __always_inline bool member_counts(struct limiting *l)
{
	struct connection *c = conn_find(&l->member, l->now);

	return c && READ_ONCE(c->flow.created) == l->created && flow_counts(c, l->member.proto);
}

static __always_inline void place_free(struct limiting *l, __u32 number, __u32 tag, __u32 version, bool missing)
{
	if (l->has_free)
		return;
	l->has_free = 1;
	l->missing = missing;
	l->free = number;
	l->free_tag = tag;
	l->version = version;
}

/* Looks at one place; 1 ends the count. */
static int place_visit(__u32 i, struct limiting **context)
{
	struct limiting *l = *context;
	__u32 tag, version, pending;
	struct counted *c;
	bool own, same;
	void *shard;

	l->place.number = i;
	tag = place_tag(&l->place);
	shard = place_shard(tag);
	if (!shard)
		return 1;
	c = bpf_map_lookup_elem(shard, &l->place);
	if (!c) {
		place_free(l, i, tag, 0, true);
		return 1;
	}
	bpf_spin_lock(&c->lock);
	same = c->tag == tag;
	version = c->version;
	pending = c->pending;
	l->created = c->created;
	l->member = c->connection;
	bpf_spin_unlock(&c->lock);
	if (!same) { /* the sweeper is at it */
		l->raced = 1;
		return 1;
	}
	own = l->own && !l->found && l->created == l->fresh.created &&
	      same_words(&l->member, &l->fresh.connection, sizeof(l->member));
	if (own)
		l->found = 1;
	if (own || pending || member_counts(l))
		l->live++;
	else
		place_free(l, i, tag, version, false);
	return l->live > l->above;
}

/* Finds the packet's own connection, if its source opened it and it counts. */
static __always_inline void limit_own(struct packet *p, struct track *t, struct limiting *l)
{
	struct connection *c;

	l->own = 0;
	if (p->direction != DIRECTION_ORIGINAL || t->quoted)
		return;
	l->fresh.connection = t->key;
	l->fresh.pending = t->pending;
	l->counted_by = 0;
	if (t->pending) {
		l->fresh.created = t->fresh.flow.created;
		l->own = 1;
		return;
	}
	c = conn_find(&t->key, p->now);
	if (!c || !flow_counts(c, t->key.proto))
		return;
	l->fresh.created = READ_ONCE(c->flow.created);
	l->counted_by = READ_ONCE(c->flow.counted_by);
	l->own = 1;
}

/* The short way for packets that open nothing: there are no more places than
 * the limit allows, and the packet's own connection has one of them. */
static __always_inline bool limit_far(struct limiting *l)
{
	void *shard;

	if (l->own && l->counted_by != l->place.limit)
		return false;
	l->place.number = l->above;
	shard = place_shard(place_tag(&l->place));
	return shard && !bpf_map_lookup_elem(shard, &l->place);
}

/* Remembers that the connection has a place. */
static __always_inline void limit_mark(struct packet *p, struct track *t, struct limiting *l)
{
	struct conn_lock *lock = conn_lock(t->fresh.tag);
	struct connection *c;

	if (t->pending) {
		t->fresh.flow.counted_by = l->place.limit;
		return;
	}
	c = conn_find(&t->key, p->now);
	if (!c || !lock)
		return;
	bpf_spin_lock(&lock->lock);
	if (c->tag == t->fresh.tag && c->flow.created == l->fresh.created)
		c->flow.counted_by = l->place.limit;
	bpf_spin_unlock(&lock->lock);
}

static __always_inline bool counted_admit(struct port *port, __u32 quota)
{
	__u32 before = __sync_fetch_and_add(&port->counted, 1);

	if (before < quota)
		return true;
	__sync_fetch_and_add(&port->counted, -1);
	return false;
}

/* Puts the packet's own connection behind the last place. */
static __always_inline int place_append(struct limiting *l, void *shard)
{
	struct port *port = bpf_map_lookup_elem(&ports, &l->place.port);
	long error;

	if (!port)
		return VERDICT_FULL;
	if (!counted_admit(port, l->quota)) {
		__sync_fetch_and_add(&port->refused, 1);
		return VERDICT_FULL;
	}
	error = bpf_map_update_elem(shard, &l->place, &l->fresh, BPF_NOEXIST);
	if (!error)
		return 0;
	__sync_fetch_and_add(&port->counted, -1);
	return error == -EEXIST ? VERDICT_RACE : VERDICT_FULL;
}

/* Puts it where the connection of before has ended, unless another CPU did so
 * meanwhile. */
static __always_inline int place_reuse(struct limiting *l, void *shard)
{
	struct counted *c = bpf_map_lookup_elem(shard, &l->place);
	bool free;

	if (!c)
		return VERDICT_RACE;
	bpf_spin_lock(&c->lock);
	free = c->tag == l->free_tag && c->version == l->version;
	if (free) {
		c->version++;
		c->pending = l->fresh.pending;
		c->written = l->fresh.written;
		c->created = l->fresh.created;
		c->connection = l->fresh.connection;
	}
	bpf_spin_unlock(&c->lock);
	return free ? 0 : VERDICT_RACE;
}

static __always_inline int place_take(struct limiting *l)
{
	void *shard = place_shard(l->free_tag);
	__u32 taken = l->taken;
	int refused;

	if (!shard || !l->has_free)
		return VERDICT_FULL;
	if (l->fresh.pending && taken >= MAX_LIMITS_MET)
		return VERDICT_FULL;
	l->place.number = l->free;
	l->fresh.tag = l->free_tag;
	l->fresh.version = 0;
	l->fresh.written = l->now;
	refused = l->missing ? place_append(l, shard) : place_reuse(l, shard);
	if (refused || !l->fresh.pending)
		return refused;
	if (taken < MAX_LIMITS_MET) {
		l->met[taken].limit = l->place.limit;
		l->met[taken].number = l->free;
		l->taken = taken + 1;
	}
	return 0;
}

static __always_inline void place_of(struct packet *p, struct limiting *l, __u64 limit)
{
	l->place.port = p->port;
	l->place.family = p->family;
	l->place.source[0] = p->src_ip[0];
	l->place.source[1] = p->src_ip[1];
	l->place.limit = limit;
}

static __always_inline int limit_exceeded(struct packet *p, struct track *t, __u64 limit, __u32 above)
{
	const struct config *config = config_of(p);
	struct limiting *l = get_limiting();
	int refused;

	if (!l || !config)
		return VERDICT_FULL;
	if (above > MAX_LIMIT)
		above = MAX_LIMIT;
	place_of(p, l, limit);
	l->now = p->now;
	l->above = above;
	l->quota = config->max_connections;
	l->live = 0;
	l->has_free = 0;
	l->found = 0;
	l->raced = 0;
	limit_own(p, t, l);
	if (limit_far(l))
		return LIMIT_WITHIN;
	/* With this many places one is free if the limit is not exceeded. */
	bpf_loop(above + 1, place_visit, &l, 0);
	if (l->raced)
		return VERDICT_RACE;
	if (l->live > above)
		return LIMIT_EXCEEDED;
	if (!l->own)
		return LIMIT_WITHIN;
	if (!l->found) {
		refused = place_take(l);
		if (refused)
			return refused;
		l->live++;
	}
	/* Two limits would take the mark from each other at every packet. */
	if (!l->found || !l->counted_by)
		limit_mark(p, t, l);
	return l->live > above ? LIMIT_EXCEEDED : LIMIT_WITHIN;
}

struct settling {
	struct limiting *limiting;
	__u32 passed;
};

static int place_settle(__u32 i, struct settling *s)
{
	struct limiting *l = s->limiting;
	struct counted *c;
	void *shard;
	__u32 tag;

	if (i >= MAX_LIMITS_MET)
		return 1;
	l->place.limit = l->met[i].limit;
	l->place.number = l->met[i].number;
	tag = place_tag(&l->place);
	shard = place_shard(tag);
	if (!shard)
		return 1;
	c = bpf_map_lookup_elem(shard, &l->place);
	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	if (c->tag == tag) {
		c->pending = 0;
		c->version++;
		if (!s->passed)
			__builtin_memset(&c->connection, 0, sizeof(c->connection));
	}
	bpf_spin_unlock(&c->lock);
	return 0;
}

/* What the packet opens has its places from now on, or gives them back. */
static __always_inline void limit_settle(struct packet *p, bool passed)
{
	struct limiting *l = get_limiting();
	struct settling s = { .limiting = l, .passed = passed };

	if (!l || !l->taken)
		return;
	place_of(p, l, 0);
	bpf_loop(l->taken, place_settle, &s, 0);
	l->taken = 0;
}

#endif
