/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * One frame, parsed once. struct packet holds every field that a rule may
 * name; the compiler reads the members' offsets from this file's BTF and
 * internal/packet decodes the same members in Go: change both together.
 *
 * Numbers are in host byte order, MAC addresses 48-bit numbers. A field counts
 * only where its bit in `have` is set: a condition on a field that the frame
 * does not have does not hold, negated or not.
 */
#ifndef TAPGATE_PACKET_H
#define TAPGATE_PACKET_H

#define HAVE_VLAN		(1 << 0)
#define HAVE_STP		(1 << 1)
#define HAVE_STP_CONFIG		(1 << 2)
#define HAVE_ARP		(1 << 3)
#define HAVE_ARP_SRC_MAC	(1 << 4)
#define HAVE_ARP_DST_MAC	(1 << 5)
#define HAVE_ARP_IP		(1 << 6)
#define HAVE_IPV4		(1 << 7)
#define HAVE_IPV6		(1 << 8)
#define HAVE_LINK_PROTO		(1 << 9)	/* behind extension headers and AH */
#define HAVE_NET_PROTO		(1 << 10)	/* behind extension headers, AH itself */
#define HAVE_PORTS		(1 << 11)
#define HAVE_TCP		(1 << 12)	/* the 20 fixed bytes */
#define HAVE_TCP_OPTIONS	(1 << 13)	/* the whole header */
#define HAVE_ICMP		(1 << 14)
#define HAVE_ICMPV6		(1 << 15)
#define HAVE_ND_TARGET		(1 << 16)	/* neighbour discovery that names a target, readable or not */
#define HAVE_ND_MAC		(1 << 17)	/* a link-layer address in it, or options that cannot be read */

enum fragment {
	FRAGMENT_NONE = 0,	/* a whole datagram */
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2,	/* the first fragment is known */
	FRAGMENT_ORPHAN = 3,	/* a later fragment before the first */
	FRAGMENT_SHORT = 4,	/* the first, without its whole transport header */
};

/* What the parser found wrong, for the reason of a drop. */
enum malformed {
	WELL_FORMED = 0,
	MALFORMED_IP,		/* header that the IP layer refuses */
	SHORT_FIRST_FRAGMENT,	/* IPv6 header chain not in the first fragment */
	OVERLAPPING_FRAGMENT,	/* later fragment inside the first one */
	UNREADABLE,		/* header bytes that could not be read */
};

/* Why a packet's state is INVALID. internal/packet/invalid.go says what each
 * one means. */
enum invalid {
	NOT_INVALID = 0,
	INVALID_HEADER,
	INVALID_LENGTH,
	INVALID_TCP_FLAGS,
	INVALID_TCP_OPENING,
	INVALID_TCP_STATE,
	INVALID_TCP_WINDOW,
	INVALID_TCP_RESET,
	INVALID_SCTP_CHUNKS,
	INVALID_SCTP_OPENING,
	INVALID_SCTP_TAG,
	INVALID_SCTP_STATE,
	INVALID_ICMP_TYPE,
	INVALID_ICMP_ANSWER,
	INVALID_ICMP_QUOTE,
	INVALID_ICMP_ERROR,
	INVALID_GRE,
	INVALIDS,
};

struct packet {
	__u64 src_mac, dst_mac;
	__u64 src_ip[2], dst_ip[2];	/* upper and lower half; IPv4 in the lower */
	__u64 arp_src_mac, arp_dst_mac;
	__u64 stp_root_address, stp_sender_address;
	__u64 tcp_options[4];		/* bit per option kind */
	__u32 have;
	__u32 arp_src_ip, arp_dst_ip;
	__u32 stp_root_cost;
	__u16 ethertype;		/* behind the MACs: 0x8100 if tagged, < 0x600 a length */
	__u16 vlan_id, vlan_encap;
	__u16 arp_hwtype, arp_protocol, arp_opcode;
	__u16 src_port, dst_port;
	__u16 stp_root_priority, stp_sender_priority;
	__u16 stp_port, stp_age, stp_max_age, stp_hello_time, stp_forward_delay;
	__u8 link_proto, net_proto;
	__u8 dscp;
	__u8 tcp_flags;			/* as on the wire, FIN = 1 … CWR = 0x80 */
	__u8 icmp_type, icmp_code;
	__u8 arp_gratuitous;		/* 1: sender IP = target IP */
	__u8 stp_type, stp_flags;
	__u8 state;			/* one bit of enum state, set by the tracker */
	__u8 direction;			/* 1 original, 2 reply, 0 without a connection */

	/* Groups of `have`: those that a fragment lacks, and those that are absent
	 * for good. Worked out by the policy, whose parts read them. */
	__u32 lacks, absent;

	/* Not named by rules: what later steps need. */
	__u8 family;			/* 4, 6; 0: not seen by the network stage */
	__u8 fragment;			/* enum fragment */
	__u8 malformed;			/* enum malformed */
	__u8 more_fragments;
	__u8 tcp_scale;			/* 0xff: option absent */
	__u8 tcp_sack_permitted;
	__u8 tcp_sack_seen;
	__u8 out;			/* 1: sent by the guest */
	__u8 invalid;			/* enum invalid, set by the tracker */
	__u8 option_at, options_ended;	/* where the walk over TCP options stands */
	__u16 icmp_id;
	__u16 tcp_window;
	__u16 fragment_offset;		/* bytes */
	__u16 udp_length;
	__u32 fragment_id;
	__u32 fragment_length;		/* bytes of the datagram's fragmentable part in this frame */
	__u32 l4_offset;		/* from the start of the frame as the program sees it */
	__u32 l4_length;		/* bytes of transport header and payload in this frame */
	__u32 l4_header;		/* bytes of transport header, 0 unknown */
	__u32 tcp_seq, tcp_ack;
	__u32 tcp_sack;			/* the ACK, or a higher right edge of the first SACK option */
	__u32 slot;			/* of the generation that judges the packet */
	__u32 port;			/* number of the port */
	__u64 now;			/* nanoseconds, coarse monotonic */

	/* What neighbour discovery says, where features.nd asks for it. */
	__u64 nd_target[2];		/* ::, if it cannot be read */
	__u64 nd_mac;			/* 0, if it cannot be read or options name several */
	__u32 nd_at;			/* where the walk over its options stands */
};

#endif
