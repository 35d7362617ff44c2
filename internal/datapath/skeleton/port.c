//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * A generation's own two programs, which are attached to its port: they lead
 * each packet through the skeleton's steps and the policy's stages, and count.
 * The weak functions are stubs: the loader puts the code compiled from the
 * port's policy in their place, and calls of the skeleton. They are weak and
 * noinline since clang would fold the result of anything less.
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
#include "tcp_table.h"
#include "conn_find.h"
#include "limit.h"
#include "fragment.h"
#include "handover.h"

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

/* With room for those of other versions, which may know more of them. */
struct totals {
	struct counter passed, dropped;
	__u64 reasons[16];		/* dropped packets, by enum reason */
	__u64 invalid[32];		/* packets, by enum invalid */
};

/* By direction: 0 in, 1 out. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");

/* The names of the policy's clauses, which outlive the policy. The loader sets
 * the size. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} clause_names SEC(".maps");

/*
 * Numbers that the loader puts into the program, in the place of these; clang
 * takes them for any.
 */
#define GENERATION_SLOT	0x67617465	/* the generation's slot */
#define FIRST_STEP	0x67617466	/* where the skeleton's steps for its features begin */
#define LINK_FIRST	0x67617467	/* what is sent has a link stage to pass first */

#define LOADED(number) ({ __u32 _n; asm volatile("%0 = %1" : "=r"(_n) : "i"(number)); _n; })

/* The skeleton's steps. */
__weak __attribute__((noinline)) int enter(struct __sk_buff *skb)
{
	return STEP_MISSING;
}

__weak __attribute__((noinline)) int classify(struct __sk_buff *skb)
{
	return STEP_MISSING;
}

/* Rarely called: it is not worth a direct jump, for which the kernel interrupts
 * all CPUs when the program is loaded. */
__weak __attribute__((noinline)) int finish(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();

	if (s)
		bpf_tail_call(skb, &skeletons, s->first_step + STEP_FINISH);
	return STEP_MISSING;
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

/* Called by policies: whether the packet's source has more connections than a
 * rule allows. */
__noinline int count_limit(__u64 limit, __u32 above)
{
	struct scratch *s = get_scratch();

	if (!s)
		return VERDICT_FULL;
	return limit_exceeded(&s->packet, &s->track, limit, above);
}

__weak __attribute__((noinline)) int policy_link(struct packet *p)
{
	return p ? VERDICT_DROP << 28 | NO_CLAUSE : 0;
}

__weak __attribute__((noinline)) int policy_net(struct packet *p)
{
	/* The call keeps the function for policies that need it. */
	return p ? VERDICT_DROP << 28 | NO_CLAUSE : count_limit(0, 0);
}

/* Names the clause that passed a packet, for the connection that it opens.
 * Replaced by nothing where no connections are kept. */
__weak __attribute__((noinline)) int name_clause(__u32 clause)
{
	struct scratch *s = get_scratch();
	__u64 *name = bpf_map_lookup_elem(&clause_names, &clause);

	if (s)
		s->track.fresh.flow.admitted = name ? *name : 0;
	return 0;
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

/* Finds the connection and asks the rules; later fragments share what was
 * decided for their first. */
static __always_inline bool network_stage(struct __sk_buff *skb, struct scratch *s, struct outcome *o)
{
	struct packet *p = &s->packet;

	if (!p->family || p->fragment == FRAGMENT_LATER)
		return true;
	if (s->classify && classify(skb) != STEP_DONE)
		return drop(o, REASON_INTERNAL);
	return decided(p, o, policy_net(p));
}

/* The link stage comes first on the way out: what it drops there never touches
 * the connections. On the way in it comes last. */
static __always_inline bool stages(struct __sk_buff *skb, struct scratch *s, struct outcome *o, bool out)
{
	struct outcome link = { .reason = REASON_DEFAULT, .clause = NO_CLAUSE };
	struct packet *p = &s->packet;

	if (out && !decided(p, &link, policy_link(p))) {
		*o = link;
		return false;
	}
	if (!network_stage(skb, s, o))
		return false;
	if (!out && !decided(p, &link, policy_link(p))) {
		*o = link;
		return false;
	}
	if (s->tracked && s->track.pending)
		name_clause(o->reason == REASON_CLAUSE ? o->clause : link.clause);
	if (p->fragment == FRAGMENT_LATER) {
		o->reason = REASON_FIRST_FRAGMENT;
		o->clause = NO_CLAUSE;
	} else if (o->reason != REASON_CLAUSE) {
		*o = link;
	}
	return true;
}

static __always_inline void count_total(struct scratch *s, bool out)
{
	__u32 direction = out, reason = s->outcome.reason, invalid = s->invalid;
	struct totals *t = bpf_map_lookup_elem(&totals, &direction);

	if (!t)
		return;
	if (invalid)
		t->invalid[invalid & 31]++;
	if (s->outcome.verdict == VERDICT_PASS) {
		t->passed.packets++;
		t->passed.bytes += s->length;
		return;
	}
	t->dropped.packets++;
	t->dropped.bytes += s->length;
	t->reasons[reason & 15]++;
}

static __always_inline int run(struct __sk_buff *skb, bool out)
{
	struct outcome o = { .reason = REASON_DEFAULT, .clause = NO_CLAUSE };
	struct scratch *s = get_scratch();
	bool passed = false;
	int result;

	if (!s)
		return TC_DROP;
	s->slot = LOADED(GENERATION_SLOT);
	s->first_step = LOADED(FIRST_STEP);
	s->length = skb->len;
	s->out = out;
	s->link_first = out && LOADED(LINK_FIRST);
	s->invalid = 0;
	s->finish = 0;
	drop(&s->outcome, REASON_INTERNAL);
	result = enter(skb);
	if (result == STEP_ANSWER)
		return TC_NEXT;
	if (result == STEP_DONE) {
		passed = stages(skb, s, &o, out);
		s->outcome = o;
	}
	if (!(s->finish & 1 << passed) && s->outcome.verdict != VERDICT_REJECT) {
		result = passed ? TC_NEXT : TC_DROP;
	} else if (finish(skb) == STEP_DONE) {
		result = s->result;
	} else {
		drop(&s->outcome, REASON_INTERNAL);
		result = TC_DROP;
	}
	count_total(s, out);
	return result;
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
