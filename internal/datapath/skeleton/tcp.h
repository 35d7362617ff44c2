/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The TCP machine. Mirrors internal/conntrack/tcp.go, tcpreset.go and
 * tcpwindow.go step by step; the reasons are there. */
#ifndef TAPGATE_TCP_H
#define TAPGATE_TCP_H

#include "tcp_table.h"

#define TCP_HEADER	20	/* bytes without options */

/*
 * The verifier follows every combination of branches whose outcomes it can
 * connect: a value that is tested twice, a flag that is set on one path and
 * tested later. The machine has so many of both that it would not load. So
 * what it works on is volatile and in maps, where the verifier forgets what it
 * has learnt about a value, and what must be remembered goes through forget().
 */
typedef volatile struct flow tcp_flow;
typedef volatile struct tcp_side tcp_side;
typedef volatile struct tcp_segment tcp_segment;

static __always_inline __u32 forget(tcp_segment *s, __u32 value)
{
	s->slot = value;
	return s->slot;
}

/* 1 or 0 without a branch. */
static __always_inline __u32 before(__u32 a, __u32 b)
{
	return (a - b) >> 31;
}

static __always_inline __u32 after(__u32 a, __u32 b)
{
	return (b - a) >> 31;
}

static __always_inline __u32 at_least(__u32 a, __u32 b)
{
	return a > b ? a : b;
}

static __always_inline __u64 at_most(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

static __always_inline void tcp_segment_read(struct packet *p, struct tcp_segment *s)
{
	__u32 syn = p->tcp_flags >> 1 & 1, fin = p->tcp_flags & 1;

	s->now = p->now;
	s->seq = p->tcp_seq;
	s->end = p->tcp_seq + p->l4_length - p->l4_header + syn + fin;
	s->ack = p->tcp_ack;
	s->sack_edge = p->tcp_sack;
	s->window = p->tcp_window;
	s->event = tcp_event(p->tcp_flags);
	s->flags = p->tcp_flags;
	s->scale = 0;
	s->offers = 0;
	if (p->tcp_scale != 0xff) {
		s->scale = p->tcp_scale;
		s->offers = SIDE_SCALE_SEEN;
	}
	if (p->tcp_sack_permitted)
		s->offers |= SIDE_SACK_PERMITTED;
	s->has_options = p->l4_header > TCP_HEADER;
	s->partial = p->fragment == FRAGMENT_FIRST;
}

static __always_inline void side_restart(tcp_side *x, tcp_segment *s)
{
	x->end = x->max_end = s->end;
	x->max_window = at_least(s->window, 1);
	if (s->has_options) {
		x->scale = s->scale;
		x->flags = (x->flags & SIDE_LIBERAL) | s->offers;
	}
}

static __always_inline void side_restart_with(tcp_side *from, tcp_side *to,
					      tcp_segment *s, __u32 dir)
{
	side_restart(from, s);
	if (dir && !(from->flags & to->flags & SIDE_SCALE_SEEN))
		from->scale = to->scale = 0;
}

static __always_inline void side_set_max_ack(tcp_side *x, __u32 ack)
{
	if (!(x->flags & SIDE_MAX_ACK) || after(ack, x->max_ack))
		x->max_ack = ack;
	x->flags |= SIDE_MAX_ACK;
}

static __always_inline void side_set_window(tcp_side *x, __u32 ack, __u32 window)
{
	if (after(ack + window, x->max_end - 1))
		x->max_end = ack + window + !window;
}

static __always_inline void tcp_remember(tcp_flow *f, tcp_segment *s, __u32 dir)
{
	f->last_direction = dir;
	f->last_seq = s->seq;
	f->last_ack = s->ack;
	f->last_end = s->end;
	f->last_window = s->window;
	f->retransmissions = 0;
}

static __always_inline void tcp_be_liberal(tcp_flow *f)
{
	f->side[0].flags |= SIDE_LIBERAL;
	f->side[1].flags |= SIDE_LIBERAL;
}

static __always_inline void tcp_open_mid_stream(tcp_flow *f, tcp_segment *s)
{
	tcp_side *from = &f->side[0], *to = &f->side[1];

	from->end = s->end;
	from->max_window = at_least(s->window, 1);
	from->max_end = s->end + from->max_window;
	from->flags = to->flags = SIDE_SACK_PERMITTED | SIDE_LIBERAL;
	if (after(s->sack_edge, 0) || !after(s->sack_edge, -at_least(from->max_window, MIN_ACK_WINDOW) - 1))
		return;
	from->max_window = at_least(from->max_window, s->window + s->sack_edge - s->ack);
	side_set_max_ack(from, s->ack);
	side_set_window(to, s->sack_edge, s->window);
	tcp_remember(f, s, 0);
}

static __always_inline void tcp_refresh(tcp_flow *f, tcp_segment *s, __u32 old, __u32 next,
					const struct timeouts *timeouts)
{
	__u64 timeout = timeouts->tcp[next & 15];

	if (f->retransmissions >= MAX_RETRANSMISSIONS && timeout > timeouts->tcp_max_retrans)
		timeout = timeouts->tcp_max_retrans;
	else if (s->event == EVENT_RST)
		timeout = timeouts->tcp[TCP_CLOSE];
	else if ((f->side[0].flags | f->side[1].flags) & SIDE_UNACKNOWLEDGED &&
		 timeout > timeouts->tcp_unacknowledged)
		timeout = timeouts->tcp_unacknowledged;
	else if (f->last_window == 0 && timeout > timeouts->tcp_max_retrans)
		timeout = timeouts->tcp_max_retrans;
	if (f->flags & CONN_SEEN_REPLY) {
		if ((old == TCP_SYN_RECEIVED || old == TCP_ESTABLISHED) && next == TCP_ESTABLISHED)
			f->flags |= CONN_ASSURED;
	} else if (s->event == EVENT_RST) {
		f->expires = s->now;
		return;
	} else if (s->event == EVENT_SYN && old == TCP_SYN_SENT) {
		return;
	} else if (next == TCP_ESTABLISHED) {
		timeout = at_most(timeout, timeouts->tcp_unacknowledged);
	}
	f->expires = s->now + timeout;
}

/* Starts a connection in a zeroed flow; false: the packet cannot. */
static __always_inline bool tcp_open(tcp_flow *f, tcp_segment *s, const struct config *config)
{
	if (s->event == EVENT_SYN) {
		f->state = TCP_SYN_SENT;
		side_restart(&f->side[0], s);
		side_set_window(&f->side[1], 0, s->window);
	} else if (s->event == EVENT_ACK && config->pick_up) {
		f->state = TCP_ESTABLISHED;
		tcp_open_mid_stream(f, s);
	} else {
		return false;
	}
	if (s->partial)
		tcp_be_liberal(f);
	f->last_event = s->event;
	f->last_direction = 0;
	tcp_refresh(f, s, TCP_NONE, f->state, &config->timeouts);
	return true;
}

static __always_inline bool tcp_may_reopen(tcp_flow *f, __u32 dir)
{
	return (f->side[0].flags | f->side[1].flags) & SIDE_CLOSED_FIRST ||
	       (f->last_direction == dir && f->last_event == EVENT_RST);
}

static __always_inline bool tcp_out_of_step(tcp_flow *f, tcp_segment *s, __u32 dir)
{
	return s->event == EVENT_SYN_ACK && f->last_event == EVENT_SYN && f->last_direction != dir &&
	       s->ack == f->last_end;
}

static __always_inline void tcp_resync(tcp_flow *f, tcp_side *from, tcp_side *to)
{
	f->last_flags &= ~SIDE_CHALLENGE_ACK;
	to->end = to->max_end = f->last_end;
	to->max_window = at_least(f->last_window, 1);
	to->max_ack = 0;
	to->scale = f->last_scale;
	to->flags = f->last_flags & ~SIDE_SIMULTANEOUS;
	from->end = from->max_end = from->max_window = from->max_ack = 0;
	from->scale = 0;
	from->flags &= SIDE_LIBERAL;
	f->counted_by = 0; /* it may have been closed, and its place another's */
}

static __always_inline void tcp_ignore(tcp_flow *f, tcp_segment *s, __u32 dir)
{
	f->last_event = s->event;
	f->last_direction = dir;
	f->last_seq = s->seq;
	f->last_end = s->end;
	f->last_window = s->window;
	if (s->event == EVENT_SYN && dir == 0) {
		f->last_scale = s->scale;
		f->last_flags = s->offers;
		if (f->state == TCP_LAST_ACK)
			f->last_flags |= SIDE_CHALLENGE_ACK;
	}
	if (s->event == EVENT_ACK && dir == 1 && f->state == TCP_SYN_SENT)
		f->last_ack = s->ack;
}

static __always_inline bool tcp_is_challenge_ack(tcp_flow *f, tcp_segment *s, __u32 dir)
{
	return f->state == TCP_LAST_ACK && s->event == EVENT_ACK && f->last_direction != dir &&
	       f->last_event == EVENT_SYN && f->last_flags & SIDE_CHALLENGE_ACK;
}

enum reset_verdict {
	RESET_CHECKED,
	RESET_BELIEVED,
	RESET_CHALLENGED,
	RESET_FORGED,
};

static __always_inline enum reset_verdict tcp_judge_reset(tcp_flow *f, tcp_side *peer,
							  tcp_segment *s, __u32 dir)
{
	__u8 state = f->state, last = f->last_event;
	bool settled = state == TCP_ESTABLISHED && f->flags & CONN_ASSURED;

	if (state >= TCP_FIN_WAIT && state <= TCP_CLOSE)
		return RESET_BELIEVED;
	if (peer->flags & SIDE_MAX_ACK && last != EVENT_SYN) {
		if (s->seq == 0 && !settled)
			return RESET_CHECKED;
		if (before(s->seq, peer->max_ack))
			return RESET_FORGED;
		if (!settled || s->seq == peer->max_ack)
			return RESET_CHECKED;
		if (last == EVENT_ACK && f->last_direction == dir && s->seq == f->last_end)
			return RESET_CHECKED;
		return RESET_CHALLENGED;
	}
	if (s->ack == f->last_end) {
		if (f->flags & CONN_SEEN_REPLY && last == EVENT_SYN && f->last_direction != dir)
			return RESET_BELIEVED;
		if (!(f->flags & CONN_ASSURED) && last == EVENT_ACK)
			return RESET_BELIEVED;
	}
	if (state == TCP_SYN_SENT && last == EVENT_ACK && f->last_direction == 1 && s->seq == f->last_ack)
		return RESET_BELIEVED;
	return RESET_CHECKED;
}

static __always_inline void tcp_count_repeat(tcp_flow *f, tcp_segment *s, __u32 dir)
{
	if (f->last_direction == dir && f->last_seq == s->seq && f->last_ack == s->ack &&
	    f->last_end == s->end && f->last_window == s->window)
		f->retransmissions++;
	else
		tcp_remember(f, s, dir);
}

static __always_inline enum tcp_verdict tcp_in_window(tcp_flow *f, tcp_side *from,
						      tcp_side *to, tcp_segment *s,
						      __u32 dir)
{
	__u32 seq = s->seq, end = s->end, ack = s->ack, sack = s->ack, window = s->window;
	__u32 seq_too_high, ack_too_high, seq_too_old, ack_too_old;

	if (to->flags & SIDE_SACK_PERMITTED)
		sack = s->sack_edge;
	if (from->max_window == 0 && s->flags & TCP_FLAG_SYN) {
		side_restart_with(from, to, s, dir);
		if (!(s->flags & TCP_FLAG_ACK))
			return TCP_VERDICT_ACCEPT;
	} else if (from->max_window == 0) {
		from->end = end;
		from->max_window = at_least(window << (from->scale & 15), 1);
		from->max_end = end + from->max_window;
		if (to->max_window == 0)
			to->end = to->max_end = sack;
		else if (sack == to->end + 1)
			to->end++;
	} else if (s->flags & TCP_FLAG_SYN && after(end, from->end) &&
		   (f->state == TCP_SYN_SENT || f->state == TCP_SYN_RECEIVED)) {
		side_restart_with(from, to, s, dir);
		if (dir && !(s->flags & TCP_FLAG_ACK))
			return TCP_VERDICT_ACCEPT;
	}
	if (!(s->flags & TCP_FLAG_ACK) || (s->event == EVENT_RST && ack == 0))
		ack = sack = to->end;
	if (s->event == EVENT_RST && seq == 0 && f->state == TCP_SYN_SENT)
		seq = end = from->end;
	ack = forget(s, ack);
	seq = forget(s, seq);

	seq_too_high = after(seq, from->max_end);
	ack_too_high = after(sack, to->end);
	seq_too_old = to->max_window ? !after(end, from->end - to->max_window - 1) : 0;
	seq_too_old = forget(s, seq_too_old);
	ack_too_old = !after(sack, to->end - at_least(from->max_window, MIN_ACK_WINDOW) - 1);
	if (seq_too_high | ack_too_high | seq_too_old | ack_too_old) {
		__u32 overshoot = end - from->max_end + 1;

		if (seq_too_high && to->max_window && !(ack_too_high | seq_too_old | ack_too_old) &&
		    overshoot <= to->max_window) {
			from->end = end;
			from->flags |= SIDE_UNACKNOWLEDGED;
			seq_too_high = 0;
		}
		if (from->flags & SIDE_LIBERAL)
			return TCP_VERDICT_ACCEPT;
		return seq_too_high | ack_too_high ? TCP_VERDICT_INVALID : TCP_VERDICT_IGNORE;
	}

	if (!(s->flags & TCP_FLAG_SYN))
		window <<= from->scale & 15;
	from->max_window = at_least(from->max_window, window + sack - ack);
	if (after(end, from->end)) {
		from->end = end;
		from->flags |= SIDE_UNACKNOWLEDGED;
	}
	if (s->flags & TCP_FLAG_ACK)
		side_set_max_ack(from, ack);
	if (to->max_window != 0 && after(end, from->max_end))
		to->max_window += end - from->max_end;
	side_set_window(to, sack, window);
	if (ack == to->end)
		to->flags &= ~SIDE_UNACKNOWLEDGED;
	if (s->event == EVENT_ACK)
		tcp_count_repeat(f, s, dir);
	return TCP_VERDICT_ACCEPT;
}

static __always_inline void tcp_shrink(tcp_flow *f, tcp_segment *s, __u32 dir, const struct timeouts *timeouts)
{
	if (!(f->flags & CONN_ASSURED) || (s->event != EVENT_FIN && s->event != EVENT_RST))
		return;
	if (f->last_direction == dir || (f->last_event != EVENT_FIN && f->last_event != EVENT_RST)) {
		f->last_event = s->event;
		f->last_direction = dir;
		return;
	}
	if (f->expires - s->now >= TCP_SHRINK_FLOOR)
		f->expires = at_most(f->expires, s->now + timeouts->tcp_unacknowledged);
}

/* A segment of a live connection, under its lock: no calls in here. */
static __always_inline enum tcp_verdict tcp_packet(tcp_flow *f, tcp_segment *s, __u32 dir,
						   const struct timeouts *timeouts)
{
	tcp_side *from = &f->side[dir & 1], *to = &f->side[(dir & 1) ^ 1];
	__u32 old = f->state, next = tcp_next[dir & 1][s->event & 7][old & 15], check = 1;

	if (s->partial)
		tcp_be_liberal(f);
	if (next == TCP_SYN_SENT && old >= TCP_TIME_WAIT) {
		if (tcp_may_reopen(f, dir))
			return TCP_VERDICT_REOPEN;
		next = TCP_IGNORED;
	}
	if (next == TCP_INVALID) {
		s->invalid = INVALID_TCP_STATE;
		return TCP_VERDICT_INVALID;
	}
	if (next == TCP_IGNORED) {
		if (!tcp_out_of_step(f, s, dir)) {
			tcp_ignore(f, s, dir);
			return TCP_VERDICT_IGNORE;
		}
		tcp_resync(f, from, to);
		old = TCP_SYN_SENT;
		next = TCP_SYN_RECEIVED;
	} else if (next == TCP_TIME_WAIT && tcp_is_challenge_ack(f, s, dir)) {
		f->last_flags &= ~SIDE_CHALLENGE_ACK;
		return TCP_VERDICT_IGNORE;
	} else if (next == TCP_SYN_SENT2) {
		f->last_flags |= SIDE_SIMULTANEOUS;
	} else if (next == TCP_SYN_RECEIVED && dir && s->event == EVENT_ACK &&
		   f->last_flags & SIDE_SIMULTANEOUS) {
		next = TCP_ESTABLISHED;
	} else if (s->event == EVENT_RST) {
		switch (tcp_judge_reset(f, to, s, dir)) {
		case RESET_FORGED:
			s->invalid = INVALID_TCP_RESET;
			return TCP_VERDICT_INVALID;
		case RESET_BELIEVED:
			check = 0;
			break;
		case RESET_CHALLENGED:
			next = old;
			break;
		case RESET_CHECKED:
			break;
		}
	}
	old = forget(s, old);
	next = forget(s, next);
	if (forget(s, check)) {
		enum tcp_verdict verdict = tcp_in_window(f, from, to, s, dir);

		s->invalid = INVALID_TCP_WINDOW;
		if (verdict == TCP_VERDICT_INVALID)
			tcp_shrink(f, s, dir, timeouts);
		if (verdict != TCP_VERDICT_ACCEPT)
			return verdict;
	}
	f->last_event = s->event;
	f->last_direction = dir;
	f->state = next;
	if (next == TCP_FIN_WAIT && old != TCP_FIN_WAIT)
		from->flags |= SIDE_CLOSED_FIRST;
	tcp_refresh(f, s, old, next, timeouts);
	return TCP_VERDICT_ACCEPT;
}

#endif
