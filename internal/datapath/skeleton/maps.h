/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What the programs share: configuration, scratch memory and maps. */
#ifndef TAPGATE_MAPS_H
#define TAPGATE_MAPS_H

#include "packet.h"

#define SECOND 1000000000ULL

#define MAX_SERVICES 16

/* Which helper reads the connections that are opened to a port. */
struct service {
	__u8 helper;		/* enum helper */
	__u8 proto;		/* 0: no service */
	__u16 port;
};

/* How long connections live after a packet, in nanoseconds: conntrack.Timeouts. */
struct timeouts {
	__u64 tcp[16];		/* by enum tcp_state */
	__u64 sctp[16];		/* by enum sctp_state */
	__u64 tcp_max_retrans, tcp_unacknowledged;
	__u64 udp, udp_stream;
	__u64 udplite, udplite_stream;
	__u64 gre, gre_stream;
	__u64 icmp, icmpv6;
	__u64 generic;
};

/*
 * What the policy of a generation asks of the skeleton: constant once loaded, so
 * that the verifier removes the rest. The skeleton is loaded once a host for
 * each combination that any generation needs.
 */
struct features {
	__u8 testing;		/* clock and port come from the map `test` */
	__u8 track;		/* the policy names states or directions */
	__u8 helpers;		/* the policy names RELATED */
	__u8 tcp_options;	/* something looks at TCP options */
	__u8 reject;		/* the policy rejects packets */
	__u8 limits;		/* the policy counts connections */
	__u8 observe;		/* somebody learns from the port's packets */
	__u8 nd;		/* something looks into neighbour discovery */
};

const volatile struct features features = {};

/* What is a generation's own, written before its programs are attached. */
struct config {
	__u32 port;		/* key of the port's connections, never used twice */
	__u32 generation;
	__u32 max_connections;	/* of this port */
	__u8 pick_up;		/* a mid-stream TCP packet may open a connection */
	__u8 swapped;		/* what the guest sends is what the device transmits */
	__u8 observe;		/* OBSERVE_… in observe.h */
	__u8 pad;
	__u64 mac;		/* the guest's, a 48-bit number */
	__u64 policy;		/* its name: another for one that decides differently */
	__u64 mark;		/* in the metadata of an answer, for the port's other program */
	struct service services[MAX_SERVICES];
	struct timeouts timeouts;
};

/* Generations that can be there at once, on all ports of the host. */
#define SLOTS 16384

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct config);
} configs SEC(".maps");

static __always_inline const struct config *config_of(const struct packet *p)
{
	__u32 slot = p->slot;

	return bpf_map_lookup_elem(&configs, &slot);
}

/* Test runs move the clock and change the port between sequences. */
struct test {
	__u64 now;
	__u32 port;
	enum invalid invalid;	/* why the last packet was that was so */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test);
} test SEC(".maps");

static __always_inline struct test *get_test(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&test, &zero);
}

static __always_inline __u64 current_time(void)
{
	if (features.testing) {
		struct test *t = get_test();

		return t ? t->now : 0;
	}
	return bpf_ktime_get_coarse_ns();
}

enum state {
	STATE_NEW = 1,
	STATE_ESTABLISHED = 2,
	STATE_RELATED = 4,
	STATE_INVALID = 8,
	STATE_UNTRACKED = 16,
};

enum direction {
	DIRECTION_ORIGINAL = 1,
	DIRECTION_REPLY = 2,
};

/*
 * The name of a connection: its port, and its two ends in an order that does
 * not depend on the packet's direction, so that one look-up finds it from both
 * sides. For ICMP end a is who asks, a_port the identifier and b_port type
 * << 8 | code of the question; protocols without ports have 0 there.
 */
struct conn_key {
	__u32 port;
	__u8 family;		/* 4 or 6 */
	__u8 proto;
	__u16 a_port, b_port;
	__u16 pad;
	__u64 a_ip[2], b_ip[2];
};

/* The place of a rule's decision in the value that a policy returns. */
#define VERDICT_PASS	0
#define VERDICT_DROP	1
#define VERDICT_REJECT	2
#define VERDICT_NEXT	3	/* nothing decided: used between subprograms */
#define VERDICT_UNDECIDED 4	/* an orphan fragment lacks what the clause compares */
#define VERDICT_FULL	6	/* no room to count the connection; 5 is the compiler's own */
#define VERDICT_RACE	7	/* another packet was counted in its place */
#define VERDICT(v)	((v) >> 28)
#define CLAUSE(v)	((v) & 0x0fffffff)
#define NO_CLAUSE	0x0fffffff	/* default accept */

/* Why a packet met its fate when no rule decided. The order is that of
 * internal/verdict. */
enum reason {
	REASON_CLAUSE = 0,		/* a rule did */
	REASON_DEFAULT,			/* no rule matched: pass */
	REASON_MALFORMED_IP,
	REASON_SHORT_FIRST_FRAGMENT,
	REASON_OVERLAPPING_FRAGMENT,
	REASON_UNREADABLE,
	REASON_ORPHAN_FRAGMENT,		/* a rule needed what only the first fragment tells */
	REASON_FIRST_FRAGMENT,		/* shares the fate of its first fragment */
	REASON_TABLE_FULL,		/* no room for a new connection of this port */
	REASON_RACE,			/* another packet opened the connection first */
	REASON_INTERNAL,		/* a map look-up that cannot fail failed */
	REASONS,
};

#endif
