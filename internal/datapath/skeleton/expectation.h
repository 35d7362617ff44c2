/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Connections that helpers wait for. An expectation is the property of the
 * control connection that announced it, its master: it counts only while the
 * master lives and has announced nothing else since. Mirrors
 * internal/conntrack/expectation.go.
 */
#ifndef TAPGATE_EXPECTATION_H
#define TAPGATE_EXPECTATION_H

/* What an expectation admits: one packet with exactly these addresses and this
 * destination port, from any source port. */
struct target {
	__u32 port;		/* as in struct conn_key */
	__u8 family;
	__u8 proto;
	__u16 dst_port;
	__u64 src_ip[2], dst_ip[2];
};

struct expectation {
	struct conn_key master;
	__u64 expires;		/* counts before this moment */
};

/* At most one for each followed stream. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct target);
	__type(value, struct expectation);
} expectations SEC(".maps");

static __always_inline void target_set(struct target *t, struct packet *p, __u32 port, const __u64 *src_ip,
				       const __u64 *dst_ip, __u16 dst_port)
{
	t->port = port;
	t->family = p->family;
	t->proto = p->link_proto;
	t->dst_port = dst_port;
	t->src_ip[0] = src_ip[0];
	t->src_ip[1] = src_ip[1];
	t->dst_ip[0] = dst_ip[0];
	t->dst_ip[1] = dst_ip[1];
}

static __always_inline bool same_words(const void *a, const void *b, __u32 bytes)
{
	const __u64 *x = a, *y = b;

#pragma unroll
	for (__u32 i = 0; i < bytes / 8; i++)
		if (x[i] != y[i])
			return false;
	return true;
}

static __always_inline void expectation_add(const struct target *target, const struct conn_key *master,
					    struct expectation *scratch, __u64 expires)
{
	scratch->master = *master;
	scratch->expires = expires;
	bpf_map_update_elem(&expectations, target, scratch, BPF_ANY);
}

/* Takes back what the master announced, unless it is another's by now. */
static __always_inline void expectation_remove(const struct target *target, const struct conn_key *master)
{
	struct expectation *e = bpf_map_lookup_elem(&expectations, target);

	if (e && same_words(&e->master, master, sizeof(*master)))
		bpf_map_delete_elem(&expectations, target);
}

#endif
