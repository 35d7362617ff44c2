//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * What is the same for all ports of the host: the steps that a generation's
 * programs (port.c) lead a packet through. Here it is parsed, its connection is
 * found and kept, and what its end asks for is done.
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

#include "handover.h"
#include "reject.h"
#include "report.h"
#include "observe.h"

char __license[] SEC("license") = "GPL";

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
	parse_packet(skb, &s->packet, &s->head, features.tcp_options || features.track, features.nd);
	return 0;
}

/* Returns 0 if the datagram's first fragment was dropped. */
__noinline int recall(void)
{
	struct scratch *s = get_scratch();

	return s ? fragment_recall(&s->packet, &s->search) : 0;
}

__noinline int remember(bool passed)
{
	struct scratch *s = get_scratch();

	if (s)
		fragment_remember(&s->packet, &s->search, passed);
	return 0;
}

__noinline int find_connection(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	conn_classify(skb, &s->packet, &s->track);
	if (s->packet.state == STATE_INVALID)
		s->invalid = s->packet.invalid;
	s->classify = 0;
	s->tracked = 1;
	if (s->track.pending || s->track.helper)
		s->finish |= 1 << FATE_PASSED;
	return 0;
}

__noinline int commit(void)
{
	struct scratch *s = get_scratch();

	if (!s)
		return REASON_INTERNAL;
	return conn_commit(&s->packet, &s->track);
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
__noinline int tell_all(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();
	__u32 zero = 0, fate;
	struct report *r = bpf_map_lookup_elem(&report, &zero);
	const struct config *config;
	struct packet *p;

	if (!s || !r)
		return REASON_INTERNAL;
	p = &s->packet;
	fate = s->outcome.verdict == VERDICT_PASS ? FATE_PASSED : FATE_DROPPED;
	config = config_of(p);
	r->port = p->port;
	r->generation = config ? config->generation : 0;
	r->clause = s->outcome.clause;
	r->length = s->length;
	r->captured = NO_HEAD;
	r->vlan_protocol = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : 0;
	r->vlan_tci = skb->vlan_present ? skb->vlan_tci : 0;
	r->out = p->out;
	r->verdict = s->outcome.verdict;
	r->reason = s->outcome.reason;
	r->state = p->state;
	r->direction = p->direction;
	r->invalid = p->state == STATE_INVALID ? p->invalid : NOT_INVALID;
	for (__u32 slot = 0; slot < WATCHERS; slot++)
		tell(skb, slot, fate);
	return 0;
}

/* Finds out whether the packet may teach its guest's addresses. */
__noinline int consider(void)
{
	struct scratch *s = get_scratch();
	const struct config *config;

	if (!s)
		return REASON_INTERNAL;
	config = config_of(&s->packet);
	s->teaches = config ? may_teach(&s->packet, config->observe, config->mac) : TEACHES_NOTHING;
	if (s->teaches != TEACHES_NOTHING)
		s->finish |= 1 << FATE_DROPPED;
	if (s->teaches == TEACHES_MESSAGE)
		s->finish |= 1 << FATE_PASSED;
	return 0;
}

__noinline int observe(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();
	const struct config *config;

	if (!s)
		return REASON_INTERNAL;
	config = config_of(&s->packet);
	if (config)
		observe_packet(skb, &s->packet, config, s->teaches, s->outcome.verdict == VERDICT_PASS);
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

static __always_inline int ended(struct scratch *s, __u32 reason)
{
	drop(&s->outcome, reason);
	return STEP_ENDED;
}

static __always_inline void test_packet(struct packet *p)
{
	struct test *t = get_test();

	if (t)
		p->port = t->port;
}

/* What a test run returns: everything that both engines must agree on. */
static __always_inline int test_result(struct packet *p, struct outcome *o)
{
	struct test *t = get_test();
	__u32 state = 0;

	if (t && p->state == STATE_INVALID)
		t->invalid = p->invalid;
	for (int i = 0; i < 5; i++)
		if (p->state & (1 << i))
			state = i + 1;
	return o->verdict << 30 | (o->reason & 15) << 26 | state << 23 | (p->direction & 3) << 21 |
	       (o->clause & 0x1fffff);
}

/* What the packet's end will ask for whatever comes. */
static __always_inline __u8 finishing(struct packet *p, __u8 watched)
{
	if (features.testing || features.limits || p->fragment == FRAGMENT_FIRST || p->fragment == FRAGMENT_SHORT)
		return 1 << FATE_DROPPED | 1 << FATE_PASSED;
	return watched;
}

SEC("tc")
int skeleton_enter(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();
	const struct config *config;
	struct packet *p;

	if (!s)
		return STEP_MISSING;
	config = bpf_map_lookup_elem(&configs, &s->slot);
	if (!config || !config->port)
		return STEP_MISSING;
	if (features.reject && answer_passes(skb, config->mark))
		return STEP_ANSWER;
	p = &s->packet;
	parse(skb);
	p->out = s->out;
	p->slot = s->slot;
	p->port = config->port;
	p->now = current_time();
	if (features.testing)
		test_packet(p);
	s->watched = watched(FATE_DROPPED, p->now) << FATE_DROPPED | watched(FATE_PASSED, p->now) << FATE_PASSED;
	s->finish = finishing(p, s->watched);
	s->tracked = 0;
	s->classify = 0;
	if (features.observe)
		consider();
	if (p->malformed)
		return ended(s, malformed_reason(p->malformed));
	if (p->fragment == FRAGMENT_ORPHAN) {
		bool passed = recall();

		if (p->malformed)
			return ended(s, malformed_reason(p->malformed));
		if (!passed)
			return ended(s, REASON_FIRST_FRAGMENT);
	}
	if (!features.track || !p->family || p->fragment >= FRAGMENT_LATER)
		return STEP_DONE;
	if (s->link_first) {
		s->classify = 1;
		return STEP_DONE;
	}
	return find_connection(skb) ? STEP_MISSING : STEP_DONE;
}

SEC("tc")
int skeleton_classify(struct __sk_buff *skb)
{
	return find_connection(skb) ? STEP_MISSING : STEP_DONE;
}

SEC("tc")
int skeleton_finish(struct __sk_buff *skb)
{
	struct scratch *s = get_scratch();
	int result = TC_DROP, reason;
	struct packet *p;
	bool passed;

	if (!s)
		return STEP_MISSING;
	p = &s->packet;
	passed = s->outcome.verdict == VERDICT_PASS;
	if (features.track && passed && s->tracked) {
		reason = commit();
		if (reason)
			passed = drop(&s->outcome, reason);
		else if (features.helpers && s->track.helper)
			watch(skb);
	}
	if (features.limits)
		settle(passed);
	if ((p->fragment == FRAGMENT_FIRST || p->fragment == FRAGMENT_SHORT) && !p->malformed)
		remember(passed);
	if (s->watched & 1 << passed)
		tell_all(skb);
	if (features.observe && s->teaches != TEACHES_NOTHING && !p->malformed)
		observe(skb);
	if (features.reject && s->outcome.verdict == VERDICT_REJECT)
		result = reject(skb);
	if (features.testing)
		result = test_result(p, &s->outcome);
	else if (passed)
		result = TC_NEXT;
	s->result = result;
	return STEP_DONE;
}
