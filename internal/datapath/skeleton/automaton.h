/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The machine that reads control protocols byte by byte. What it does with a
 * byte stands in tables that internal/conntrack compiles from a grammar;
 * internal/conntrack/automaton.go runs the same tables: change both together.
 */
#ifndef TAPGATE_AUTOMATON_H
#define TAPGATE_AUTOMATON_H

#define AUTOMATON_STATES	512
#define AUTOMATON_CLASSES	64
#define AUTOMATON_KINDS		4
#define NO_STATE		0xffff

enum helper {
	HELPER_NONE,
	HELPER_FTP,
	HELPER_TFTP,
	HELPER_IRC,
	HELPER_AMANDA,
	HELPER_SIP,
	HELPERS,
};

enum kind_flag {
	KIND_ANY_SOURCE = 1 << 0,	/* whoever connects is expected */
	KIND_TO_ORIGINATOR = 1 << 1,	/* who opened the connection listens, not who speaks */
	KIND_PAIRED = 1 << 2,		/* an even port and the next */
	KIND_REGISTERING = 1 << 3,	/* not used up, but to be agreed to */
};

/* What announcements of one sort have in common: see kind.go. */
struct kind {
	__u8 first, slots;	/* of the stream's */
	__u8 proto;
	__u8 flags;		/* enum kind_flag */
	__u16 lifetime;		/* seconds */
	__u8 reader;		/* of the announced connection: enum helper */
	__u8 pad;
};

/* Arrays of two are by direction, the original first. */
struct automaton {
	__u8 classes[256];	/* of each byte; class 0 is the remembered delimiter */
	__u16 start[2];		/* where the first line, or a datagram, begins */
	__u16 skip[2];		/* up to the end of the line */
	__u16 dead;		/* where messages of datagrams end, and which nothing leads out of; or NO_STATE */
	__u16 timeout;		/* seconds that a packet leaves the connection, 0: the tracker's own */
	__u8 reads;		/* enum direction */
	__u8 pad[3];
	struct kind kinds[AUTOMATON_KINDS];
	__u16 steps[AUTOMATON_STATES * AUTOMATON_CLASSES]; /* action << 10 | next state */
};

/* By helper, without the first. */
struct automata {
	struct automaton of[HELPERS - 1];
};

/* Filled from conntrack.Tables() by the loader and frozen, one for all ports of
 * the host. One value: the verifier cannot read several of a frozen map. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, struct automata);
} automata SEC(".maps");

static __always_inline const struct automaton *automaton_of(__u8 helper)
{
	__u32 index = helper - 1, zero = 0;
	struct automata *all;

	if (index >= HELPERS - 1)
		return NULL;
	all = bpf_map_lookup_elem(&automata, &zero);
	return all ? &all->of[index] : NULL;
}

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
	ACTION_ADDRESS_DIGIT,
	ACTION_PORT_DIGIT,
	ACTION_HIGH,
	ACTION_HEX_DIGIT,
	ACTION_GROUP,
	ACTION_LAST_GROUP,
	ACTION_TAIL_GROUP,
	ACTION_ANNOUNCE,
	ACTION_REQUEST,
	ACTION_NUMBER_DIGIT,
	ACTION_REQUEST_LINE,
	ACTION_RESPONSE_LINE,
	ACTION_INVITE,
	ACTION_UPDATE,
	ACTION_ACK,
	ACTION_PRACK,
	ACTION_BYE,
	ACTION_REGISTER,
	ACTION_STATUS,
	ACTION_SEQUENCE,
	ACTION_LENGTH,
	ACTION_EXPIRES,
	ACTION_URI,
	ACTION_USER,
	ACTION_CONTACT_PORT,
	ACTION_CONTACT_EXPIRES,
	ACTION_TRANSPORT,
	ACTION_UDP,
	ACTION_TCP,
	ACTION_HEADERS,
	ACTION_MEDIUM,
	ACTION_AUDIO,
	ACTION_VIDEO,
	ACTION_IMAGE,
	ACTION_MEDIUM_PORT,
	ACTION_ADDRESS_OCTET,
	ACTION_ADDRESS_GROUP,
	ACTION_ADDRESS_GAP,
	ACTION_ADDRESS_TAIL,
	ACTION_FINISH,		/* in no table: the datagram is over */
};

/* message.go says what each one means. */
enum message_flag {
	HAS_SEQUENCE = 1 << 0,
	HAS_LENGTH = 1 << 1,
	HAS_EXPIRES = 1 << 2,
	IN_BODY = 1 << 3,
	DESCRIBED = 1 << 4,
	HAS_CONTACT = 1 << 5,
	CONTACT_SETTLED = 1 << 6,
	CONTACT_OWN = 1 << 7,
	CONTACT_FOREIGN = 1 << 8,
	CONTACT_LIMITED = 1 << 9,
	HAS_MEDIUM = 1 << 10,
	SESSION_GIVEN = 1 << 11,
	SESSION_OWN = 1 << 12,
	MEDIUM_GIVEN = 1 << 13,
	MEDIUM_OWN = 1 << 14,
};

/* What a SIP message has said so far. */
struct message {
	__u32 sequence, length, expires, contact_expires;
	__u16 status, contact_port, medium_port;
	__u16 flags;		/* enum message_flag */
	__u8 is, method, kind, media;
	__u32 pad;
};

/* An automaton at work: where it is, and what it has read of the line. */
struct registers {
	__u64 head[2], tail[2];	/* the address in front of and behind "::" */
	__u32 value;		/* the number being read */
	__u16 state;
	__u8 delimiter;		/* of the line, 0 none */
	__u8 groups;		/* of the IPv6 address, so far */
	__u8 high;		/* upper byte of the port */
	__u8 spoilt;		/* the line announces nothing */
	__u8 pad[6];
	struct message message;	/* outlives the lines */
};

/* Who sends the bytes: an announcement must name its address. */
struct speaker {
	__u64 address[2];
	__u64 peer[2];		/* the other end */
	__u8 family;
	__u8 proto;
	__u16 port;		/* from which the connection was opened, by either end */
	__u16 registered;	/* at which what it registered is expected, or 0 */
	__u16 start;		/* where the first line, or a datagram, begins */
	__u16 skip;		/* where the rest of a broken line goes on */
	__u16 dead;
};

/* event.go says what each one means. */
enum event_op {
	OP_EXPECT,
	OP_INVITE,
	OP_BYE,
	OP_FAILED,
	OP_REGISTER,
	OP_REGISTERED,
	OP_REFUSED,
};

/* What a byte completes. */
struct event {
	__u8 op;		/* enum event_op */
	__u8 kind;		/* of an announcement: index of automaton.kinds */
	__u16 port;		/* of the announced connection's listener */
	__u32 number;		/* of the request that it is about */
	__u32 lifetime;		/* of a registration, seconds */
};

static __always_inline void restart(struct registers *r, __u16 state)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->state = state;
}

/* Forgets what was read of the line. */
static __always_inline void forget_line(struct registers *r)
{
	__u16 state = r->state;

	__builtin_memset(r, 0, __builtin_offsetof(struct registers, message));
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

/* One that follows "::" goes behind those before it. */
static __always_inline void tail_group(struct registers *r)
{
	r->tail[0] = r->tail[0] << 16 | r->tail[1] >> 48;
	r->tail[1] = r->tail[1] << 16 | r->value;
	r->groups++;
	r->value = 0;
}

#include "message.h"

/* Does what a step says; true if it completes an event. */
static __always_inline bool feed_action(struct registers *r, struct speaker *who, __u8 action, __u8 c,
					struct event *e)
{
	bool spoilt = false;
	__u64 value;

	switch (action) {
	case ACTION_LINE:
		forget_line(r);
		break;
	case ACTION_IPV4:
		spoilt = who->family != 4;
		break;
	case ACTION_IPV6:
		spoilt = who->family != 6;
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
		spoilt = r->value > 255;
		break;
	case ACTION_OCTET:
		r->head[1] = r->head[1] << 8 | r->value;
		r->value = 0;
		break;
	case ACTION_ADDRESS_DIGIT:
		r->head[1] = r->head[1] * 10 + (c - '0');
		spoilt = r->head[1] > 0xffffffff;
		break;
	case ACTION_PORT_DIGIT:
		r->value = r->value * 10 + (c - '0');
		spoilt = r->value > 65535;
		break;
	case ACTION_HIGH:
		r->high = r->value;
		r->value = 0;
		break;
	case ACTION_HEX_DIGIT:
		r->value = r->value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		break;
	case ACTION_GROUP:
		spoilt = r->groups >= 7;
		head_group(r);
		break;
	case ACTION_LAST_GROUP:
		spoilt = r->groups != 7;
		head_group(r);
		break;
	case ACTION_TAIL_GROUP:
		spoilt = r->groups >= 7;
		tail_group(r);
		break;
	case ACTION_ANNOUNCE:
		e->op = OP_EXPECT;
		e->kind = 0;
		e->port = r->high << 8 | r->value;
		if (r->spoilt || (r->head[0] | r->tail[0]) != who->address[0] ||
		    (r->head[1] | r->tail[1]) != who->address[1])
			e->port = 0;
		restart(r, r->state);
		return e->port;
	case ACTION_REQUEST:
		e->op = OP_EXPECT;
		e->kind = 0;
		e->port = who->port;
		return e->port;
	case ACTION_NUMBER_DIGIT:
		value = (__u64)r->value * 10 + (c - '0');
		r->value = value < 0xffffffff ? value : 0xffffffff;
		break;
	default:
		return message_understand(r, who, e, action);
	}
	r->spoilt |= spoilt;
	return false;
}

/* Takes one byte; true if it completes an event. */
static __always_inline bool feed(struct registers *r, const struct automaton *a, struct speaker *who, __u8 c,
				 struct event *e)
{
	/* Bytes of the body, this one included; without a branch, see tcp.h. */
	__u32 left = r->message.length * (r->message.flags / IN_BODY & 1);
	bool event = false;
	__u8 class = a->classes[c], action;
	__u16 step;

	if (r->delimiter && r->delimiter == c)
		class = 0;
	step = a->steps[(r->state & (AUTOMATON_STATES - 1)) * AUTOMATON_CLASSES +
			(class & (AUTOMATON_CLASSES - 1))];
	r->state = step & 0x3ff;
	action = step >> 10;
	if (action != ACTION_NONE)
		event = feed_action(r, who, action, c, e);
	if (left && --r->message.length == 0) {
		event |= message_understand(r, who, e, ACTION_FINISH);
		restart(r, who->start);
	}
	return event;
}

#endif
