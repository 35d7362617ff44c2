/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The machine that reads control protocols byte by byte. What it does with a
 * byte stands in tables that internal/conntrack compiles from a grammar;
 * internal/conntrack/automaton.go runs the same tables: change both together.
 */
#ifndef TAPGATE_AUTOMATON_H
#define TAPGATE_AUTOMATON_H

#define AUTOMATON_STATES	256
#define AUTOMATON_CLASSES	32

enum helper {
	HELPER_FTP,
	HELPERS,
};

struct automaton {
	__u8 classes[256];	/* of each byte; class 0 is the remembered delimiter */
	__u16 steps[AUTOMATON_STATES * AUTOMATON_CLASSES]; /* action << 8 | next state */
};

/* Filled from conntrack.Tables() and frozen by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HELPERS);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, struct automaton);
} automata SEC(".maps");

/* The states that every grammar has; + 1 for the reply direction. */
#define AUTOMATON_LINE	0	/* a line starts */
#define AUTOMATON_SKIP	2	/* skip to the end of the line */

/* automaton.go says what each one means. */
enum action {
	ACTION_NONE,
	ACTION_LINE,
	ACTION_IPV4,
	ACTION_IPV6,
	ACTION_OWN,
	ACTION_DELIMITER,
	ACTION_OCTET_DIGIT,
	ACTION_OCTET,
	ACTION_PORT_DIGIT,
	ACTION_HIGH,
	ACTION_HEX_DIGIT,
	ACTION_GROUP,
	ACTION_LAST_GROUP,
	ACTION_TAIL_GROUP,
	ACTION_ANNOUNCE,
};

/* An automaton at work: where it is, and what it has read of the line. */
struct registers {
	__u64 head[2], tail[2];	/* the address in front of and behind "::" */
	__u32 value;		/* the number being read */
	__u8 state;
	__u8 delimiter;		/* of the line, 0 none */
	__u8 groups;		/* of the IPv6 address, so far */
	__u8 high;		/* upper byte of the port */
};

/* Who sends the bytes: an announcement must name its address. */
struct speaker {
	__u64 address[2];
	__u8 family;
	__u8 skip;		/* where a failed line goes on */
};

static __always_inline void restart(struct registers *r, __u8 state)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->state = state;
}

/* A group of an IPv6 address goes to its place counted from the left. */
static __always_inline void head_group(struct registers *r)
{
	__u64 group = (__u64)r->value << (48 - 16 * (r->groups & 3));

	if (r->groups < 4)
		r->head[0] |= group;
	else
		r->head[1] |= group;
	r->groups++;
	r->value = 0;
}

/* Takes one byte. Returns a port number above 0 when the byte completes the
 * announcement of a port at the speaker's own address. */
static __always_inline __u16 feed(struct registers *r, const struct automaton *a,
				  const struct speaker *who, __u8 c)
{
	__u8 class = a->classes[c], action;
	__u16 step, port;
	bool ok = true;

	if (r->delimiter && r->delimiter == c)
		class = 0;
	step = a->steps[r->state * AUTOMATON_CLASSES + (class & (AUTOMATON_CLASSES - 1))];
	r->state = step;
	action = step >> 8;
	if (action == ACTION_NONE)
		return 0;
	switch (action) {
	case ACTION_LINE:
		restart(r, r->state);
		break;
	case ACTION_IPV4:
		ok = who->family == 4;
		break;
	case ACTION_IPV6:
		ok = who->family == 6;
		break;
	case ACTION_OWN:
		r->head[0] = who->address[0];
		r->head[1] = who->address[1];
		break;
	case ACTION_DELIMITER:
		r->delimiter = c;
		break;
	case ACTION_OCTET_DIGIT:
		r->value = r->value * 10 + (c - '0');
		ok = r->value <= 255;
		break;
	case ACTION_OCTET:
		r->head[1] = r->head[1] << 8 | r->value;
		r->value = 0;
		break;
	case ACTION_PORT_DIGIT:
		r->value = r->value * 10 + (c - '0');
		ok = r->value <= 65535;
		break;
	case ACTION_HIGH:
		r->high = r->value;
		r->value = 0;
		break;
	case ACTION_HEX_DIGIT:
		r->value = r->value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		break;
	case ACTION_GROUP:
		ok = r->groups < 7;
		head_group(r);
		break;
	case ACTION_LAST_GROUP:
		ok = r->groups == 7;
		head_group(r);
		break;
	case ACTION_TAIL_GROUP:
		ok = r->groups < 7;
		r->tail[0] = r->tail[0] << 16 | r->tail[1] >> 48;
		r->tail[1] = r->tail[1] << 16 | r->value;
		r->groups++;
		r->value = 0;
		break;
	case ACTION_ANNOUNCE:
		port = r->high << 8 | r->value;
		if ((r->head[0] | r->tail[0]) != who->address[0] ||
		    (r->head[1] | r->tail[1]) != who->address[1])
			port = 0;
		restart(r, r->state);
		return port;
	}
	if (!ok)
		r->state = who->skip;
	return 0;
}

#endif
