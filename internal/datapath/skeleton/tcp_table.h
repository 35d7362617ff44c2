/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* States and events of TCP connections. Mirrors internal/conntrack/tcptable.go. */
#ifndef TAPGATE_TCP_TABLE_H
#define TAPGATE_TCP_TABLE_H

#define TCP_FLAG_FIN	0x01
#define TCP_FLAG_SYN	0x02
#define TCP_FLAG_RST	0x04
#define TCP_FLAG_ACK	0x10
#define TCP_FLAG_URG	0x20

enum tcp_state {
	TCP_NONE,
	TCP_SYN_SENT,
	TCP_SYN_RECEIVED,
	TCP_ESTABLISHED,
	TCP_FIN_WAIT,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_SYN_SENT2,
	TCP_IGNORED,	/* results of the transition table that are no states */
	TCP_INVALID,
};

enum tcp_event {
	EVENT_NONE,	/* flags that no TCP sends */
	EVENT_SYN,
	EVENT_SYN_ACK,
	EVENT_FIN,
	EVENT_ACK,
	EVENT_RST,
};

enum tcp_verdict {
	TCP_VERDICT_ACCEPT,
	TCP_VERDICT_IGNORE,
	TCP_VERDICT_INVALID,
	TCP_VERDICT_REOPEN,
};

#define MIN_ACK_WINDOW		66000
#define MAX_RETRANSMISSIONS	3

#define TCP_SHRINK_FLOOR	(120 * SECOND)

/* By the flags FIN, SYN, RST, ACK, URG as bits 0 to 4. A table and not
 * conditions: the verifier follows one unknown value instead of six known. */
static const __u8 tcp_events[32] = {
	[2] = EVENT_SYN, [2 | 16] = EVENT_SYN,
	[2 | 8] = EVENT_SYN_ACK,
	[1 | 8] = EVENT_FIN, [1 | 8 | 16] = EVENT_FIN,
	[8] = EVENT_ACK, [8 | 16] = EVENT_ACK,
	[4] = EVENT_RST, [4 | 8] = EVENT_RST,
};

static __always_inline __u8 tcp_event(__u8 flags)
{
	return tcp_events[(flags & 7) | (flags >> 1 & 0x18)];
}

#define no TCP_NONE
#define ss TCP_SYN_SENT
#define sr TCP_SYN_RECEIVED
#define es TCP_ESTABLISHED
#define fw TCP_FIN_WAIT
#define cw TCP_CLOSE_WAIT
#define la TCP_LAST_ACK
#define tw TCP_TIME_WAIT
#define cl TCP_CLOSE
#define s2 TCP_SYN_SENT2
#define ig TCP_IGNORED
#define iv TCP_INVALID

/* Direction, event, old state: sizes are powers of two for masked indices. */
static const __u8 tcp_next[2][8][16] = {
	{
		/*		    no  ss  sr  es  fw  cw  la  tw  cl  s2 */
		[EVENT_SYN]	= { ss, ss, ig, ig, ig, ig, ig, ss, ss, s2 },
		[EVENT_SYN_ACK]	= { iv, iv, sr, iv, iv, iv, iv, iv, iv, sr },
		[EVENT_FIN]	= { iv, iv, fw, fw, la, la, la, tw, cl, iv },
		[EVENT_ACK]	= { es, iv, es, es, cw, cw, tw, tw, cl, iv },
		[EVENT_RST]	= { iv, cl, cl, cl, cl, cl, cl, cl, cl, cl },
	},
	{
		[EVENT_SYN]	= { iv, s2, iv, iv, iv, iv, iv, ss, iv, s2 },
		[EVENT_SYN_ACK]	= { iv, sr, ig, ig, ig, ig, ig, ig, ig, sr },
		[EVENT_FIN]	= { iv, iv, fw, fw, la, la, la, tw, cl, iv },
		[EVENT_ACK]	= { iv, ig, sr, es, cw, cw, tw, tw, cl, ig },
		[EVENT_RST]	= { iv, cl, cl, cl, cl, cl, cl, cl, cl, cl },
	},
};

#undef no
#undef ss
#undef sr
#undef es
#undef fw
#undef cw
#undef la
#undef tw
#undef cl
#undef s2
#undef ig
#undef iv

#endif
