//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The skeleton of a port's two programs: parse the frame once, run the stages
 * in order, count. The subprograms policy_link and policy_net are stubs here;
 * the loader puts the code compiled from the port's policy in their place.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"
#include "parse.h"
#include "maps.h"
#include "conntrack_types.h"
#include "helper.h"
#include "conntrack.h"
#include "commit.h"
#include "limit.h"
#include "fragment.h"

#define TC_NEXT (-1)
#define TC_DROP 2

#include "reject.h"
#include "report.h"

char __license[] SEC("license") = "GPL";

struct counter {
	__u64 packets, bytes;
};

/* One counter a clause; the loader sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter);
} clauses SEC(".maps");

struct totals {
	struct counter passed, dropped;
	__u64 reasons[REASONS];		/* dropped packets */
};

/* By direction: 0 in, 1 out. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");

/* Packets by enum invalid. By direction, as totals. */
struct invalid_packets {
	__u64 packets[INVALIDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct invalid_packets);
} invalid SEC(".maps");

/* Too large for the stack. Programs run with bottom halves disabled, so none
 * interrupts another on the same CPU. */
struct scratch {
	struct packet packet;
	struct head head;
	struct track track;
	struct fragment_search search;
	__u32 length;		/* of the frame, for the counters */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

/* Called here for the clause that decided, by policies for one that matched
 * and let the packet go on. */
__noinline int count_clause(__u32 clause)
{
	struct counter *c = bpf_map_lookup_elem(&clauses, &clause);
	struct scratch *s = get_scratch();

	if (c && s) {
		c->packets++;
		c->bytes += s->length;
	}
	return 0;
}

static __always_inline void count_invalid(struct packet *p)
{
	__u32 direction = p->out;
	struct invalid_packets *counts = bpf_map_lookup_elem(&invalid, &direction);

	if (counts && p->invalid < INVALIDS)
		counts->packets[p->invalid]++;
	if (config.testing) {
		struct test *t = get_test();

		if (t)
			t->invalid = p->invalid;
	}
}

/*
 * The steps that cost the verifier most are global functions: it checks each
 * once by itself, and not again for every path that leads there. They return
 * an enum reason, 0 for none.
 */
__noinline int parse(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	parse_packet(skb, &s->packet, &s->head, config.tcp_options || config.track);
	return 0;
}

/* Returns 0 if the datagram's first fragment was dropped. */
__noinline int recall(void)
{
	struct scratch *s = get_scratch();

	return s ? fragment_recall(&s->packet, current_port(), &s->search) : 0;
}

__noinline int remember(bool passed)
{
	struct scratch *s = get_scratch();

	if (s)
		fragment_remember(&s->packet, current_port(), &s->search, passed);
	return 0;
}

__noinline int classify(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	conn_classify(skb, &s->packet, &s->track);
	if (s->packet.state == STATE_INVALID)
		count_invalid(&s->packet);
	return 0;
}

__noinline int commit(void)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	return conn_commit(&s->packet, &s->track);
}

/* Called by policies: whether the packet's source has more connections than a
 * rule allows. */
__noinline int count_limit(__u64 limit, __u32 above)
{
	struct scratch *s = get_scratch();

	if (!s)
		return VERDICT_FULL;
	return limit_exceeded(&s->packet, &s->track, limit, above);
}

__noinline int settle(bool passed)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	limit_settle(&s->packet, passed);
	return 0;
}

__noinline int watch(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	helper_watch(skb, &s->packet, &s->track);
	return 0;
}

__noinline int tell(struct __sk_buff *skb, __u32 slot, __u32 fate)
{
	struct scratch *s = get_scratch();
	__u32 zero = 0;
	struct report *r = bpf_map_lookup_elem(&report, &zero);

	if (s && r)
		report_tell(skb, r, slot, fate, s->packet.now);
	return 0;
}

/* Tells the watchers how the packet ended. */
__noinline int tell_all(struct __sk_buff *skb, __u32 verdict, __u32 reason, __u32 clause)
{
	struct scratch *s = get_scratch();
	__u32 zero = 0, fate = verdict == VERDICT_PASS ? FATE_PASSED : FATE_DROPPED;
	struct report *r = bpf_map_lookup_elem(&report, &zero);
	struct packet *p;

	if (!s || !r)
		return REASON_INTERNAL;
	p = &s->packet;
	r->port = current_port();
	r->generation = config.generation;
	r->clause = clause;
	r->length = s->length;
	r->captured = NO_HEAD;
	r->vlan_protocol = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : 0;
	r->vlan_tci = skb->vlan_present ? skb->vlan_tci : 0;
	r->out = p->out;
	r->verdict = verdict;
	r->reason = reason;
	r->state = p->state;
	r->direction = p->direction;
	r->invalid = p->state == STATE_INVALID ? p->invalid : NOT_INVALID;
	for (__u32 slot = 0; slot < WATCHERS; slot++)
		tell(skb, slot, fate);
	return 0;
}

/* Gives the program's result. */
__noinline int reject(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();

	if (!s)
		return TC_DROP;
	return reject_packet(skb, &s->packet, &s->head);
}

/* The stubs. Weak and noinline: clang would fold anything less into "pass". */
__weak __attribute__((noinline)) int policy_link(struct packet *p)
{
	return p ? VERDICT_DROP << 28 | NO_CLAUSE : 0;
}

__weak __attribute__((noinline)) int policy_net(struct packet *p)
{
	/* The call keeps the function for policies that need it. */
	return p ? VERDICT_DROP << 28 | NO_CLAUSE : count_limit(0, 0);
}

/* How a packet ended. */
struct outcome {
	__u32 verdict;
	__u32 reason;
	__u32 clause;
};

static __always_inline bool drop(struct outcome *o, __u32 reason)
{
	o->verdict = VERDICT_DROP;
	o->reason = reason;
	o->clause = NO_CLAUSE;
	return false;
}

/* Takes over a policy's result; false if the packet goes no further. */
static __always_inline bool decided(struct packet *p, struct outcome *o, __u32 result)
{
	__u32 verdict = VERDICT(result), clause = CLAUSE(result);

	if (verdict == VERDICT_UNDECIDED) {
		drop(o, p->fragment == FRAGMENT_SHORT ? REASON_SHORT_FIRST_FRAGMENT : REASON_ORPHAN_FRAGMENT);
		o->clause = clause;
		return false;
	}
	if (verdict == VERDICT_FULL || verdict == VERDICT_RACE) {
		drop(o, verdict == VERDICT_FULL ? REASON_TABLE_FULL : REASON_RACE);
		o->clause = clause;
		return false;
	}
	if (clause != NO_CLAUSE) {
		count_clause(clause);
		o->reason = REASON_CLAUSE;
		o->clause = clause;
	} else if (o->reason != REASON_CLAUSE) {
		o->reason = REASON_DEFAULT;
	}
	o->verdict = verdict;
	return verdict == VERDICT_PASS;
}

static __always_inline __u32 malformed_reason(__u8 malformed)
{
	switch (malformed) {
	case MALFORMED_IP:
		return REASON_MALFORMED_IP;
	case SHORT_FIRST_FRAGMENT:
		return REASON_SHORT_FIRST_FRAGMENT;
	case OVERLAPPING_FRAGMENT:
		return REASON_OVERLAPPING_FRAGMENT;
	}
	return REASON_UNREADABLE;
}

static __always_inline bool link_stage(struct packet *p, struct outcome *o)
{
	return decided(p, o, policy_link(p));
}

/* Classifies the connection and asks the rules; later fragments share what
 * was decided for their first. */
static __always_inline bool network_stage(struct __sk_buff *skb, struct scratch *s, struct outcome *o,
					  bool *tracked)
{
	struct packet *p = &s->packet;

	if (!p->family || p->fragment == FRAGMENT_LATER)
		return true;
	if (config.track && p->fragment < FRAGMENT_ORPHAN) {
		int reason = classify(skb);

		if (reason)
			return drop(o, reason);
		*tracked = true;
	}
	return decided(p, o, policy_net(p));
}

static __always_inline bool stages(struct __sk_buff *skb, struct scratch *s, struct outcome *o, __u32 port)
{
	struct packet *p = &s->packet;
	struct outcome link = { .reason = REASON_DEFAULT, .clause = NO_CLAUSE };
	bool tracked = false;
	int reason;

	if (p->malformed)
		return drop(o, malformed_reason(p->malformed));
	if (p->fragment == FRAGMENT_ORPHAN) {
		bool passed = recall();

		if (p->malformed)
			return drop(o, malformed_reason(p->malformed));
		if (!passed)
			return drop(o, REASON_FIRST_FRAGMENT);
	}
	/* The link stage comes first on the way out: what it drops there never
	 * touches the connections. On the way in it comes last. */
	if (p->out && !link_stage(p, &link)) {
		*o = link;
		return false;
	}
	if (!network_stage(skb, s, o, &tracked))
		return false;
	if (!p->out && !link_stage(p, &link)) {
		*o = link;
		return false;
	}
	if (tracked) {
		s->track.clause = o->reason == REASON_CLAUSE ? o->clause : link.clause;
		reason = commit();
		if (reason)
			return drop(o, reason);
		if (config.helpers && s->track.helper)
			watch(skb);
	}
	if (p->fragment == FRAGMENT_LATER) {
		o->reason = REASON_FIRST_FRAGMENT;
		o->clause = NO_CLAUSE;
	} else if (o->reason != REASON_CLAUSE) {
		*o = link;
	}
	return true;
}

static __always_inline void count_total(struct scratch *s, struct outcome *o)
{
	__u32 direction = s->packet.out;
	struct totals *t = bpf_map_lookup_elem(&totals, &direction);

	if (!t)
		return;
	if (o->verdict == VERDICT_PASS) {
		t->passed.packets++;
		t->passed.bytes += s->length;
		return;
	}
	t->dropped.packets++;
	t->dropped.bytes += s->length;
	if (o->reason < REASONS)
		t->reasons[o->reason]++;
}

/* What a test run returns: everything that both engines must agree on. */
static __always_inline int test_result(struct packet *p, struct outcome *o)
{
	__u32 state = 0;

	for (int i = 0; i < 5; i++)
		if (p->state & (1 << i))
			state = i + 1;
	return o->verdict << 30 | (o->reason & 15) << 26 | state << 23 | (p->direction & 3) << 21 |
	       (o->clause & 0x1fffff);
}

static __always_inline int run(struct __sk_buff *skb, bool out)
{
	struct scratch *s = get_scratch();
	struct outcome o = { .reason = REASON_DEFAULT, .clause = NO_CLAUSE };
	struct packet *p;
	int result = TC_DROP;
	bool passed;

	if (config.reject && answer_passes(skb))
		return TC_NEXT;
	if (!s)
		return TC_DROP;
	p = &s->packet;
	parse(skb);
	p->out = out;
	p->now = current_time();
	s->length = skb->len;
	passed = stages(skb, s, &o, current_port());
	if (config.limits)
		settle(passed);
	if ((p->fragment == FRAGMENT_FIRST || p->fragment == FRAGMENT_SHORT) && !p->malformed)
		remember(passed);
	count_total(s, &o);
	if (watched(passed ? FATE_PASSED : FATE_DROPPED, p->now))
		tell_all(skb, o.verdict, o.reason, o.clause);
	if (config.reject && o.verdict == VERDICT_REJECT)
		result = reject(skb);
	if (config.testing)
		return test_result(p, &o);
	return passed ? TC_NEXT : result;
}

SEC("tc")
int tapgate_out(struct __sk_buff *skb)
{
	return run(skb, true);
}

SEC("tc")
int tapgate_in(struct __sk_buff *skb)
{
	return run(skb, false);
}
