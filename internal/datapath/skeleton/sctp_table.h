/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* States and chunks of SCTP associations. Mirrors internal/conntrack/sctptable.go. */
#ifndef TAPGATE_SCTP_TABLE_H
#define TAPGATE_SCTP_TABLE_H

enum sctp_state {
	SCTP_NONE,
	SCTP_CLOSED,
	SCTP_COOKIE_WAIT,
	SCTP_COOKIE_ECHOED,
	SCTP_ESTABLISHED,
	SCTP_SHUTDOWN_SENT,
	SCTP_SHUTDOWN_RECEIVED,
	SCTP_SHUTDOWN_ACK_SENT,
	SCTP_HEARTBEAT_SENT,
	SCTP_INVALID,	/* a result of the transition table that is no state */
};

enum sctp_chunk {
	CHUNK_OTHER,	/* moves nothing */
	CHUNK_INIT,
	CHUNK_INIT_ACK,
	CHUNK_ABORT,
	CHUNK_SHUTDOWN,
	CHUNK_SHUTDOWN_ACK,
	CHUNK_ERROR,
	CHUNK_COOKIE_ECHO,
	CHUNK_COOKIE_ACK,
	CHUNK_SHUTDOWN_COMPLETE,
	CHUNK_HEARTBEAT,
	CHUNK_HEARTBEAT_ACK,
	CHUNK_DATA,	/* moves nothing either */
};

enum sctp_verdict {
	SCTP_VERDICT_ACCEPT,
	SCTP_VERDICT_IGNORE,
	SCTP_VERDICT_INVALID,
};

/* The tags that a chunk may ask the packet to have. */
enum sctp_tag {
	TAG_PACKET,	/* the packet's own: any */
	TAG_NONE,	/* 0 */
	TAG_ORIGINAL,	/* the association's, by direction */
	TAG_REPLY,
};

#define TAG_OF(direction)	(TAG_ORIGINAL + (direction))

#define CHUNK_SET(chunk)	(1U << (chunk))
#define ALONE_CHUNKS		(CHUNK_SET(CHUNK_INIT) | CHUNK_SET(CHUNK_INIT_ACK) | \
				 CHUNK_SET(CHUNK_SHUTDOWN_COMPLETE))
#define ANNOUNCING_CHUNKS	(CHUNK_SET(CHUNK_INIT) | CHUNK_SET(CHUNK_INIT_ACK))
#define FIRST_CHUNKS		(CHUNK_SET(CHUNK_COOKIE_ECHO) | CHUNK_SET(CHUNK_COOKIE_ACK))
#define HEARTBEAT_CHUNKS	(CHUNK_SET(CHUNK_HEARTBEAT) | CHUNK_SET(CHUNK_HEARTBEAT_ACK))
#define EXEMPT_CHUNKS		(CHUNK_SET(CHUNK_INIT) | CHUNK_SET(CHUNK_COOKIE_ECHO) | \
				 CHUNK_SET(CHUNK_ABORT) | CHUNK_SET(CHUNK_SHUTDOWN_COMPLETE) | \
				 CHUNK_SET(CHUNK_SHUTDOWN_ACK) | CHUNK_SET(CHUNK_HEARTBEAT) | \
				 CHUNK_SET(CHUNK_HEARTBEAT_ACK))
#define MID_CHUNKS		(CHUNK_SET(CHUNK_OTHER) | CHUNK_SET(CHUNK_DATA) | CHUNK_SET(CHUNK_ABORT) | \
				 CHUNK_SET(CHUNK_SHUTDOWN_COMPLETE) | CHUNK_SET(CHUNK_COOKIE_ACK))

/* By the chunk type. */
static const __u8 sctp_chunks[16] = {
	[0] = CHUNK_DATA,
	[1] = CHUNK_INIT,
	[2] = CHUNK_INIT_ACK,
	[4] = CHUNK_HEARTBEAT,
	[5] = CHUNK_HEARTBEAT_ACK,
	[6] = CHUNK_ABORT,
	[7] = CHUNK_SHUTDOWN,
	[8] = CHUNK_SHUTDOWN_ACK,
	[9] = CHUNK_ERROR,
	[10] = CHUNK_COOKIE_ECHO,
	[11] = CHUNK_COOKIE_ACK,
	[14] = CHUNK_SHUTDOWN_COMPLETE,
};

#define ASKED(own, marked) { \
	[CHUNK_INIT] = TAG_NONE, \
	[CHUNK_ABORT] = marked, \
	[CHUNK_SHUTDOWN_COMPLETE] = marked, \
	[CHUNK_COOKIE_ECHO] = own, \
}

/* Direction, T bit, chunk; HEARTBEAT and its answer judge the tag themselves. */
static const __u8 sctp_asked[2][2][16] = {
	{ ASKED(TAG_ORIGINAL, TAG_ORIGINAL), ASKED(TAG_ORIGINAL, TAG_REPLY) },
	{ ASKED(TAG_REPLY, TAG_REPLY), ASKED(TAG_REPLY, TAG_ORIGINAL) },
};

#undef ASKED

#define no SCTP_NONE
#define cl SCTP_CLOSED
#define cw SCTP_COOKIE_WAIT
#define ce SCTP_COOKIE_ECHOED
#define es SCTP_ESTABLISHED
#define ss SCTP_SHUTDOWN_SENT
#define sr SCTP_SHUTDOWN_RECEIVED
#define sa SCTP_SHUTDOWN_ACK_SENT
#define hs SCTP_HEARTBEAT_SENT
#define iv SCTP_INVALID

/* Direction, chunk, old state: sizes are powers of two for masked indices. */
static const __u8 sctp_next[2][16][16] = {
	{
		/*			    no  cl  cw  ce  es  ss  sr  sa  hs */
		[CHUNK_INIT]		= { cl, cl, cw, ce, es, cl, cl, sa, cw },
		[CHUNK_INIT_ACK]	= { cl, cl, cw, ce, es, ss, sr, sa, cl },
		[CHUNK_ABORT]		= { cl, cl, cl, cl, cl, cl, cl, cl, cl },
		[CHUNK_SHUTDOWN]	= { cl, cl, cw, ce, ss, ss, sr, sa, cl },
		[CHUNK_SHUTDOWN_ACK]	= { sa, cl, cw, ce, es, sa, sa, sa, sa },
		[CHUNK_ERROR]		= { cl, cl, cw, ce, es, ss, sr, sa, cl },
		[CHUNK_COOKIE_ECHO]	= { cl, cl, ce, ce, es, ss, sr, sa, cl },
		[CHUNK_COOKIE_ACK]	= { cl, cl, cw, es, es, ss, sr, sa, cl },
		[CHUNK_SHUTDOWN_COMPLETE] = { cl, cl, cw, ce, es, ss, sr, cl, cl },
		[CHUNK_HEARTBEAT]	= { hs, cl, cw, ce, es, ss, sr, sa, hs },
		[CHUNK_HEARTBEAT_ACK]	= { cl, cl, cw, ce, es, ss, sr, sa, hs },
	},
	{
		[CHUNK_INIT]		= { iv, cl, cw, ce, es, ss, sr, sa, iv },
		[CHUNK_INIT_ACK]	= { iv, cw, cw, ce, es, ss, sr, sa, iv },
		[CHUNK_ABORT]		= { iv, cl, cl, cl, cl, cl, cl, cl, iv },
		[CHUNK_SHUTDOWN]	= { iv, cl, cw, ce, sr, ss, sr, sa, iv },
		[CHUNK_SHUTDOWN_ACK]	= { iv, cl, cw, ce, es, sa, sa, sa, iv },
		[CHUNK_ERROR]		= { iv, cl, cw, cl, es, ss, sr, sa, iv },
		[CHUNK_COOKIE_ECHO]	= { iv, cl, ce, ce, es, ss, sr, sa, iv },
		[CHUNK_COOKIE_ACK]	= { iv, cl, cw, es, es, ss, sr, sa, iv },
		[CHUNK_SHUTDOWN_COMPLETE] = { iv, cl, cw, ce, es, ss, sr, cl, iv },
		[CHUNK_HEARTBEAT]	= { iv, cl, cw, ce, es, ss, sr, sa, hs },
		[CHUNK_HEARTBEAT_ACK]	= { iv, cl, cw, ce, es, ss, sr, sa, es },
	},
};

#undef no
#undef cl
#undef cw
#undef ce
#undef es
#undef ss
#undef sr
#undef sa
#undef hs
#undef iv

#endif
