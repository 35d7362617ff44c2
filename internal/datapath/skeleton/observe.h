/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What a guest's addresses are learned from is copied whole into one ring, which
 * a daemon reads: messages of DHCP, DHCPv6 and neighbour discovery, and dropped
 * packets that claim an address. Here is only looked at what tells such a packet
 * from others; what it says is not read. Mirrored by internal/packet/observe.go.
 */
#ifndef TAPGATE_OBSERVE_H
#define TAPGATE_OBSERVE_H

#include "bucket.h"

#define OBSERVE_DHCP	(1 << 0)
#define OBSERVE_DHCPV6	(1 << 1)
#define OBSERVE_ND	(1 << 2)
#define OBSERVE_CLAIM4	(1 << 3)
#define OBSERVE_CLAIM6	(1 << 4)

/* What a packet may be, until its end is known: scratch.teaches. */
enum teaches {
	TEACHES_NOTHING = 0,
	TEACHES_MESSAGE,
	TEACHES_CLAIM,		/* if it is dropped */
};

/* What is limited and counted by itself. */
enum observed_class {
	OBSERVED_IN = 0,	/* messages to the guest */
	OBSERVED_OUT,		/* messages from it */
	OBSERVED_CLAIM,		/* from it */
	OBSERVED_CLASSES,
};

/* 10 frames a second of each port and class, 50 at once. */
#define OBSERVE_INTERVAL (SECOND / 10)
#define OBSERVE_BURST	50

#define OBSERVE_RING	(1 << 20)
/* Claims stop here, so that there is room for messages, which are rare and more
 * important. */
#define OBSERVE_CLAIMS	(OBSERVE_RING / 4)

#define OBSERVE_FRAME	2048
#define OBSERVATION_LAYOUT 1	/* readers skip what they do not know */

struct observation {
	__u64 time;		/* nanoseconds, monotonic */
	__u32 port;		/* its number */
	__u32 length;		/* of the frame on the device */
	__u16 captured;		/* bytes in frame */
	__u16 vlan_protocol;	/* of a tag that is not in the frame; 0: none */
	__u16 vlan_tci;
	__u8 layout;
	__u8 class;		/* enum observed_class */
	__u8 out;		/* 1: sent by the guest */
	__u8 passed;
	__u8 pad[6];
	__u8 frame[OBSERVE_FRAME];
};

/* Too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct observation);
} observation SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, OBSERVE_RING);
} observations SEC(".maps");

/* A port to its observers, by enum observed_class. */
struct observed {
	__u64 full[OBSERVED_CLASSES];	/* when the bucket of frames is */
	__u64 told[OBSERVED_CLASSES];
	__u64 limited[OBSERVED_CLASSES];	/* beyond the limit */
	__u64 lost[OBSERVED_CLASSES];	/* for lack of room in the ring */
};

/* By port number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct observed);
} observed SEC(".maps");

static __always_inline bool unspecified(const struct packet *p)
{
	return !(p->src_ip[0] | p->src_ip[1]);
}

/* DHCP is what the guest sends from port 68, or gets there: for whom that is
 * stands in the message (observed_client). */
static __always_inline bool is_message(const struct packet *p, __u8 wanted, __u64 mac)
{
	bool own = p->src_mac == mac;

	if (!p->family || p->fragment != FRAGMENT_NONE)
		return false;
	if (p->link_proto == PROTO_UDP && p->have & HAVE_PORTS) {
		if (p->family == 4)
			return wanted & OBSERVE_DHCP && (p->out ? own && p->src_port == 68 && p->dst_port == 67
							       : p->src_port == 67 && p->dst_port == 68);
		return wanted & OBSERVE_DHCPV6 && (p->out ? own && p->src_port == 546 && p->dst_port == 547
							 : p->dst_mac == mac && p->src_port == 547 && p->dst_port == 546);
	}
	if (!(wanted & OBSERVE_ND) || p->family != 6 || !(p->have & HAVE_ICMPV6))
		return false;
	switch (p->icmp_type) {
	case 134:	/* router advertisement */
		return !p->out;
	case 135:	/* neighbour solicitation */
		return p->out ? own : unspecified(p);
	case 136:	/* neighbour advertisement */
		return p->out ? own : p->dst_mac == 0x333300000001;
	}
	return false;
}

static __always_inline bool is_claim(const struct packet *p, __u8 wanted, __u64 mac)
{
	if (!p->out || p->src_mac != mac)
		return false;
	if (p->family == 6)
		return wanted & OBSERVE_CLAIM6 && !unspecified(p);
	if (!(wanted & OBSERVE_CLAIM4))
		return false;
	if (p->family == 4)
		return !unspecified(p) && !p->fragment_offset;
	if (p->ethertype == 0x0806)
		return p->have & HAVE_ARP_IP && p->arp_src_ip && (p->arp_opcode == 1 || p->arp_opcode == 2);
	return p->have & HAVE_VLAN && p->vlan_encap == 0x0800;
}

/* What a packet may teach, as far as it is parsed. */
static __always_inline enum teaches may_teach(const struct packet *p, __u8 wanted, __u64 mac)
{
	if (is_message(p, wanted, mac))
		return TEACHES_MESSAGE;
	return is_claim(p, wanted, mac) ? TEACHES_CLAIM : TEACHES_NOTHING;
}

/* Whether a DHCP message names the client's hardware address (chaddr, RFC 2131
 * section 2), behind a UDP header and 28 bytes. */
static __always_inline bool observed_client(struct __sk_buff *skb, const struct packet *p, __u64 mac)
{
	/* On the stack the verifier wants a number's address to be aligned: here,
	 * that of the last four bytes. */
	__u8 chaddr[8] __attribute__((aligned(8)));

	return p->l4_length >= 8 + 28 + 6 && bpf_skb_load_bytes(skb, p->l4_offset + 8 + 28, chaddr + 2, 6) == 0 &&
	       mac_at(chaddr + 2) == mac;
}

/* Copies a packet for whoever learns, if it may. */
static __always_inline void observe_packet(struct __sk_buff *skb, const struct packet *p, const struct config *config,
					   enum teaches teaches, bool passed)
{
	__u32 zero = 0, number = p->port, length = skb->len, class;
	struct observation *o;
	struct observed *port;

	if (teaches == TEACHES_CLAIM && passed)
		return;
	if (teaches == TEACHES_MESSAGE && p->family == 4 && !p->out && !observed_client(skb, p, config->mac))
		return;
	class = teaches == TEACHES_CLAIM ? OBSERVED_CLAIM : p->out ? OBSERVED_OUT : OBSERVED_IN;
	port = bpf_map_lookup_elem(&observed, &number);
	o = bpf_map_lookup_elem(&observation, &zero);
	if (!port || !o)
		return;
	if (!take_token(&port->full[class], p->now, OBSERVE_INTERVAL, (OBSERVE_BURST - 1) * OBSERVE_INTERVAL)) {
		__sync_fetch_and_add(&port->limited[class], 1);
		return;
	}
	o->time = features.testing ? p->now : bpf_ktime_get_ns();
	o->port = number;
	o->length = length;
	o->vlan_protocol = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : 0;
	o->vlan_tci = skb->vlan_present ? skb->vlan_tci : 0;
	o->layout = OBSERVATION_LAYOUT;
	o->class = class;
	o->out = p->out;
	o->passed = passed;
	if (length > OBSERVE_FRAME)
		length = OBSERVE_FRAME;
	/* As in parse_packet: the number that is tested must be the one that is used. */
	barrier_var(length);
	o->captured = 0;
	if (length > 0 && bpf_skb_load_bytes(skb, 0, o->frame, length) == 0)
		o->captured = length;
	length = o->captured;
	if (length > OBSERVE_FRAME)
		length = OBSERVE_FRAME;
	if ((class == OBSERVED_CLAIM && bpf_ringbuf_query(&observations, BPF_RB_AVAIL_DATA) > OBSERVE_CLAIMS) ||
	    bpf_ringbuf_output(&observations, o, __builtin_offsetof(struct observation, frame) + length, 0))
		__sync_fetch_and_add(&port->lost[class], 1);
	else
		__sync_fetch_and_add(&port->told[class], 1);
}

#endif
