/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * How a generation's programs (port.c) use the skeleton, which all ports share.
 * Its steps are programs that are called like functions: a tail call out of a
 * function returns to the function's caller. The place of a step is a constant
 * where packets go often, so that the kernel makes a direct jump of the call: an
 * indirect one costs 20 ns where it has to be guarded against Spectre. A step that is not there
 * gives STEP_MISSING, and the packet is dropped.
 *
 * Programs run with bottom halves disabled, so that none interrupts another on
 * the same CPU: what they tell each other stands in scratch memory.
 */
#ifndef TAPGATE_HANDOVER_H
#define TAPGATE_HANDOVER_H

#define TC_NEXT (-1)
#define TC_DROP 2

enum step {
	STEP_ENTER = 0,		/* every packet: parse it */
	STEP_CLASSIFY,		/* find its connection, if that comes behind the link stage */
	STEP_FINISH,		/* what its end asks for, if anything */
	STEPS,
};

enum step_result {
	STEP_DONE = 0,
	STEP_ENDED,		/* the packet is dropped; the outcome says why */
	STEP_ANSWER,		/* no packet: an answer of the port's other program */
	STEP_MISSING,
};

/* How a packet ended. */
struct outcome {
	__u32 verdict;
	__u32 reason;		/* enum reason */
	__u32 clause;
};

/* How a packet ended, as an index and, shifted, as a bit. */
enum fate {
	FATE_DROPPED = 0,	/* or rejected */
	FATE_PASSED = 1,
	FATES,
};

struct scratch {
	/* Told by the port's program. */
	__u32 slot;		/* of its generation */
	__u32 first_step;	/* of the skeleton for its features */
	__u32 length;		/* of the frame, for the counters */
	__u8 out;		/* 1: sent by the guest */
	__u8 link_first;	/* a link stage comes before the connection is looked for */

	/* Told by the skeleton. */
	__u8 classify;		/* there is a connection to look for */
	__u8 tracked;		/* it was looked for */
	__u8 invalid;		/* enum invalid, if it was */
	__u8 watched;		/* by fate, as bits: somebody wants to be told */
	__u8 finish;		/* by fate, as bits: STEP_FINISH has something to do */
	__u8 teaches;		/* enum teaches, set only where features.observe is */

	struct outcome outcome;
	int result;		/* of the attached program, told by STEP_FINISH */
	struct packet packet;
	struct head head;
	struct track track;
	struct fragment_search search;
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

static __always_inline bool drop(struct outcome *o, __u32 reason)
{
	o->verdict = VERDICT_DROP;
	o->reason = reason;
	o->clause = NO_CLAUSE;
	return false;
}

#define VARIANTS 128

/* The steps by the features that the skeleton was loaded for: STEPS * variant +
 * step. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, STEPS * VARIANTS);
	__type(key, __u32);
	__type(value, __u32);
} skeletons SEC(".maps");

#endif
