/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Connections that helpers wait for. An expectation is the property of the
 * control connection that announced it, its master: it counts only while the
 * master lives and its record still holds it. Mirrors
 * internal/conntrack/expectation.go.
 */
#ifndef TAPGATE_EXPECTATION_H
#define TAPGATE_EXPECTATION_H

#define SLOTS_OF_STREAM	12
#define REGISTERING_SLOT 0	/* of SIP's */

#define TARGET_ANY_SOURCE 0x80

/* What an expectation admits: one packet with exactly these addresses and this
 * destination port, from any source port. */
struct target {
	__u32 port;		/* as in struct conn_key */
	__u8 family;		/* with TARGET_ANY_SOURCE: src_ip is zero, whoever it is */
	__u8 proto;
	__u16 dst_port;
	__u64 src_ip[2], dst_ip[2];
};

/* Stands in a slot: a target that is expected once. */
struct announcement {
	struct target target;
	__u64 expires;		/* 0: used up or taken back */
	__u32 made;		/* how many of the stream came before, and this one */
	__u8 reader;		/* of the announced connection: enum helper */
	__u8 permanent;		/* not used up */
	__u8 waiting;		/* not expected before its registrar agrees */
	__u8 pad;
};

/*
 * Where an announcement stands. A slot's target leads to it until the slot gets
 * another one or another connection announces the same; whether it is expected
 * only the slot tells. So there are never more entries than slots.
 */
struct place_of_target {
	__u32 record;
	__u32 slot;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct target);
	__type(value, struct place_of_target);
} expectations SEC(".maps");

/* The connection that the packet would open. */
static __always_inline void target_of_packet(struct target *t, struct packet *p, __u32 port)
{
	t->port = port;
	t->family = p->family;
	t->proto = p->link_proto;
	t->dst_port = p->dst_port;
	t->src_ip[0] = p->src_ip[0];
	t->src_ip[1] = p->src_ip[1];
	t->dst_ip[0] = p->dst_ip[0];
	t->dst_ip[1] = p->dst_ip[1];
}

static __always_inline void target_from_anyone(struct target *t)
{
	t->family |= TARGET_ANY_SOURCE;
	t->src_ip[0] = t->src_ip[1] = 0;
}

/* The connection that the packet's sender announces. */
static __always_inline void target_of_kind(struct target *t, struct packet *p, __u32 port,
					   const struct kind *k, __u16 dst_port)
{
	const __u64 *from = p->dst_ip, *to = p->src_ip;

	if (k->flags & KIND_TO_ORIGINATOR && p->direction == DIRECTION_REPLY) {
		from = p->src_ip;
		to = p->dst_ip;
	}
	t->port = port;
	t->family = p->family;
	t->proto = k->flags & KIND_REGISTERING ? p->link_proto : k->proto;
	t->dst_port = dst_port;
	t->src_ip[0] = from[0];
	t->src_ip[1] = from[1];
	t->dst_ip[0] = to[0];
	t->dst_ip[1] = to[1];
	if (k->flags & KIND_ANY_SOURCE)
		target_from_anyone(t);
}

/* Lets the target lead nowhere, if it leads there. */
static __always_inline void expectation_forget(const struct target *t, const struct place_of_target *from)
{
	struct place_of_target *at = bpf_map_lookup_elem(&expectations, t);

	if (at && at->record == from->record && at->slot == from->slot)
		bpf_map_delete_elem(&expectations, t);
}

#endif
