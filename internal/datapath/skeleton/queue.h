/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The connections that a port may give up when its quota is full, oldest first.
 * Mirrors internal/conntrack/queue.go, which says which they are.
 *
 * Each has a ticket, and one entry here for as long as it has it. Whoever
 * changes a connection's ticket, under its lock, makes or deletes the entry.
 */
#ifndef TAPGATE_QUEUE_H
#define TAPGATE_QUEUE_H

#define QUEUE_ENTRIES 1048576

struct ticket {
	__u32 port;
	__u32 number;	/* never 0 */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, QUEUE_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ticket);
	__type(value, struct conn_key);
} queue SEC(".maps");

/* Whether a TCP connection may be given up. Under its lock. */
static __always_inline bool flow_spare(const volatile struct flow *f)
{
	return !(f->flags & CONN_ASSURED) || f->state == TCP_TIME_WAIT || f->state == TCP_CLOSE;
}

/* Returns the connection's ticket; 0 if other ports' connections fill the queue: it
 * then goes without, and is not given up until a later packet finds room. */
static __always_inline __u32 queue_join(struct port *port, const struct conn_key *key)
{
	struct ticket t = { .port = key->port, .number = __sync_fetch_and_add(&port->tickets, 1) + 1 };

	if (!t.number) /* after 2³² */
		t.number = __sync_fetch_and_add(&port->tickets, 1) + 1;
	__sync_fetch_and_add(&port->queued, 1);
	if (bpf_map_update_elem(&queue, &t, key, BPF_ANY) == 0)
		return t.number;
	__sync_fetch_and_add(&port->queued, -1);
	return 0;
}

/* Without a port only the memory is freed. */
static __always_inline void queue_leave(struct port *port, __u32 port_number, __u32 ticket)
{
	struct ticket t = { .port = port_number, .number = ticket };

	if (ticket && bpf_map_delete_elem(&queue, &t) == 0 && port)
		__sync_fetch_and_add(&port->queued, -1);
}

#endif
