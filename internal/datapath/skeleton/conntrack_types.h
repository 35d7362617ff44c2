/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The connection table: entries, maps, and what a packet carries from its
 * classification to its commit. */
#ifndef TAPGATE_CONNTRACK_TYPES_H
#define TAPGATE_CONNTRACK_TYPES_H

enum connection_flag {
	CONN_ORIGIN_B = 1 << 0,		/* end b of the key sent the first packet */
	CONN_SEEN_REPLY = 1 << 1,	/* never unset */
	CONN_EXPECTED = 1 << 2,		/* announced by a helper: RELATED, not NEW */
	CONN_ASSURED = 1 << 3,
	CONN_BEGUN_ORIGINAL = 1 << 5,	/* a helper has seen payload */
	CONN_BEGUN_REPLY = 1 << 6,
	CONN_BEGUN = CONN_BEGUN_ORIGINAL | CONN_BEGUN_REPLY,
	CONN_OUT = 1 << 16,		/* the guest sent the first packet */
};

enum side_flag {
	SIDE_SCALE_SEEN = 1 << 0,
	SIDE_SACK_PERMITTED = 1 << 1,
	SIDE_CLOSED_FIRST = 1 << 2,
	SIDE_LIBERAL = 1 << 3,
	SIDE_UNACKNOWLEDGED = 1 << 4,
	SIDE_MAX_ACK = 1 << 5,
	SIDE_CHALLENGE_ACK = 1 << 6,	/* only in last_flags, as the next */
	SIDE_SIMULTANEOUS = 1 << 7,
};

/* What is remembered of one direction of a TCP connection. */
struct tcp_side {
	__u32 end;		/* highest sequence end sent */
	__u32 max_end;		/* highest sequence number that the peer's window allows */
	__u32 max_window;	/* largest scaled window announced; 0: nothing seen yet */
	__u32 max_ack;		/* highest ACK sent, valid with SIDE_MAX_ACK */
	__u8 scale;
	__u8 flags;
	__u8 pad[2];
};

/* What is remembered of an SCTP association. */
struct sctp_flow {
	__u32 tag[2];	/* that packets of a direction are to carry, as on the wire; 0 unknown */
	__u8 init;	/* directions, as bits, with an INIT that no COOKIE-ACK has settled */
	__u8 probe;	/* 1 + direction of a HEARTBEAT with another tag, 0: none */
	__u8 pad[2];
};

/*
 * Index 0 of arrays is the original direction, 1 the reply direction.
 *
 * Two CPUs may see one connection at once. TCP and SCTP: everything is changed
 * under conn_lock(). Other protocols: the lock is only for opening a connection anew in an
 * expired entry; `expires` is one aligned word, flags are added by an atomic
 * or, counters by atomic additions, the rest does not change.
 */
struct flow {
	__u64 created;
	__u64 expires;		/* no entry from this moment on */
	__u64 packets[2], bytes[2];
	__u32 flags;		/* enum connection_flag */
	__u8 state;		/* enum tcp_state or enum sctp_state */
	__u8 last_event;	/* enum tcp_event of the last packet that was taken in */
	__u8 last_direction;
	__u8 retransmissions;
	__u8 helper;		/* that reads it: enum helper */
	__u8 announced_by;	/* with CONN_EXPECTED: enum helper */
	__u16 stream;		/* 1 + the number of its record in `streams`, 0: none */
	__u32 ticket;		/* its place in the queue (queue.h), 0: none */
	union {
		struct {	/* TCP */
			__u32 last_seq, last_ack, last_end;
			__u16 last_window;	/* as on the wire */
			__u8 last_scale;	/* of the last ignored SYN */
			__u8 last_flags;	/* likewise, and SIDE_CHALLENGE_ACK, SIDE_SIMULTANEOUS */
			struct tcp_side side[2];
		};
		struct sctp_flow sctp;
	};
	__u64 counted_by;	/* the last limit in one of whose places it is; 0: none */
	__u64 admitted;		/* the name of the clause that passed the first packet; 0: none did */
};

/*
 * The memory of a deleted entry may serve another connection at once, while
 * another CPU still holds a pointer to it: `tag`, a hash of the key, tells
 * whether the entry is the one that was looked for. 0: being deleted.
 */
struct connection {
	__u32 tag;
	__u32 pad;
	struct flow flow;
};

/* What the TCP machine looks at in a packet with a valid header. */
struct tcp_segment {
	__u64 now;
	__u32 seq, end, ack;
	__u32 sack_edge;	/* the higher of ack and the SACK blocks' right edges */
	__u32 window;
	__u8 event;		/* enum tcp_event */
	__u8 flags;		/* of the header */
	__u8 scale, offers;	/* SYN: window scale, SIDE_SCALE_SEEN and SIDE_SACK_PERMITTED */
	__u8 has_options;	/* of any kind */
	__u8 partial;		/* first fragment of a longer segment: end is too low */
	__u8 invalid;		/* enum invalid, with TCP_VERDICT_INVALID */
	__u8 pad;
	__u32 slot;		/* for forget() */
};

#define MAX_CONTROLS		8

/* What the SCTP machine looks at. */
struct sctp_packet {
	__u64 now;
	__u32 at, end;			/* where the walk over the chunks stands and ends */
	__u32 tags[4];			/* as on the wire, by enum sctp_tag */
	__u32 init_tag;			/* that of the INIT or INIT-ACK */
	__u32 seen;			/* CHUNK_SET of all chunks */
	__u32 controls;
	__u8 control[MAX_CONTROLS];	/* enum sctp_chunk of those that the table knows, in order; CHUNK_T */
	__u8 malformed;
	__u8 direction;
	__u8 verdict;			/* enum sctp_verdict so far */
	__u8 state, init, probe;	/* of the association, as in struct flow */
	__u8 chunk;			/* enum sctp_chunk of the one in hand */
	__u8 next;			/* state after it */
	__u8 invalid;			/* enum invalid, with SCTP_VERDICT_INVALID */
	__u16 reached;			/* states, as bits */
	__u8 pad[6];
};

/* One packet's way from conn_classify() to conn_commit(); per CPU. */
struct track {
	struct conn_key key;
	struct connection fresh;	/* what commit inserts if `pending` */
	__u8 pending;			/* the packet opens a connection */
	__u8 ends;			/* enum ends: which end of the key sent the packet */
	__u8 quoted;			/* the key is that of the packet an ICMP error quotes */
	__u8 answer;			/* an ICMP answer: it opens nothing */
	__u8 helper;			/* of the packet's connection: enum helper */
	__u8 pad[3];
	struct tcp_segment segment;
	struct sctp_packet sctp;
};

/* Never called: clang describes a type that only an inner map names, in full,
 * if a function's prototype names it too. */
__attribute__((unused)) int describe_connection(struct connection *c)
{
	return c->tag;
}

#define SHARDS 128
#define SHARD_CONNECTIONS 16384

/*
 * One table for all ports of the host, in shards that are small enough to be
 * swept in one go. The loader fills in the inner maps and pins the outer one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SHARDS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(max_entries, SHARD_CONNECTIONS);
		__type(key, struct conn_key);
		__type(value, struct connection);
	});
} connections SEC(".maps");

/* The control connections of those that a helper expected, for people to see:
 * entries come and go with those of the table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct conn_key);
	__type(value, struct conn_key);
} related SEC(".maps");

#define LOCKS 1024

/*
 * Connections share locks, by their tags. A lock of an entry's own would have to
 * outlive the entry, whose memory is used again as soon as it is deleted.
 */
struct conn_lock {
	struct bpf_spin_lock lock;
	__u32 pad[15];		/* a cache line each */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOCKS);
	__type(key, __u32);
	__type(value, struct conn_lock);
} locks SEC(".maps");

/* What became of answers to rejected packets. */
struct answers {
	__u64 next;		/* when the bucket is full again */
	__u64 sent, suppressed;
};

/* One entry a port, made before its programs are attached. When it is deleted,
 * its connections go with it. */
struct port {
	__u32 connections;	/* entries in the table, expired ones until swept */
	__u32 stream_turn;	/* the next record in `streams` */
	__u64 opened;
	__u64 refused;		/* not admitted: quota or table full */
	__u32 counted;		/* places in the table of counted connections */
	__u32 queued;		/* entries in the queue */
	__u32 tickets;		/* the newest one */
	__u32 passed;		/* tickets up to this one are out of the queue */
	__u64 given_up;		/* before their end, to make room */
	__u64 expired;		/* removed or replaced after their end */
	__u64 mark;		/* for the answers of all its generations; programs have it in `config` */
	struct answers answers[2];	/* to packets in and out */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

#define COUNTED_SHARDS 16
#define SHARD_COUNTED 16384

/*
 * The name of a place where a connection is counted. The places of one limit
 * and source are numbered from 0 without a gap.
 */
struct place {
	__u32 port;
	__u32 family;
	__u64 limit;		/* a policy's name for a rule's count */
	__u64 source[2];
	__u64 number;
};

/*
 * A connection that counts, as long as the table of connections has it. It is
 * read and written under the lock; `version` changes with every writing, so
 * that what was found free is taken only if it still is. `tag`, a hash of the
 * place, tells whether the memory serves the place that was looked for.
 */
struct counted {
	struct bpf_spin_lock lock;
	__u32 tag;
	__u32 version;
	__u32 pending;		/* the packet that opens it is on its way */
	__u64 written;
	__u64 created;		/* of the connection: another one may get its name */
	struct conn_key connection;
};

/* struct counted without its lock. */
struct new_counted {
	__u32 lock;
	__u32 tag;
	__u32 version;
	__u32 pending;
	__u64 written;
	__u64 created;
	struct conn_key connection;
};

__attribute__((unused)) int describe_counted(struct place *p, struct counted *c)
{
	return p->port + c->tag;
}

/* One table for all ports, as that of connections. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, COUNTED_SHARDS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(max_entries, SHARD_COUNTED);
		__type(key, struct place);
		__type(value, struct counted);
	});
} counted SEC(".maps");

/*
 * Random, written once when the table is made: without it a guest could choose
 * connections that all fall into one shard and fill it for everybody.
 */
struct hash_secret {
	__u64 words[13];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hash_secret);
} secret SEC(".maps");

#endif
