package compat

// Mismatches are tried on the differences in this order: those in the reading
// of a rule or of a packet before those in the state of a connection, of which
// they may be the cause.
var differences = []Difference{
	{
		ID: "negated-ports", Title: "Ports in a `match='no'` element are negated as written",
		Libvirt: "On `tcp`, `udp` and `sctp` the destination's ports take the sign of `srcportstart`. Without that attribute `match='no'` is lost: `<tcp match='no' dstportstart='80'/>` matches port 80.",
		Tapgate: "Each of the two port ranges has the sign of the element that it is written in.",
		Why:     "The filter says the opposite of what libvirt enforces.",
		may:     readDifferently(reading{clause: negatedPorts}),
	},
	{
		ID: "negated-port-pair", Title: "Two negated ports are two conditions",
		Libvirt: "iptables with nf_tables compares a negated source port and a negated destination port, each a single one of TCP or UDP, as one pair: the rule matches unless both are as given.",
		Tapgate: "Both conditions must hold: neither port may be as given. Attributes of one element are always negated one by one.",
		Why:     "The language says so, and so do ranges, SCTP, and iptables before nf_tables.",
		may:     readDifferently(reading{clause: negatedPortPair}),
	},
	{
		ID: "negated-state-ipset", Title: "`match='no'` counts for `state` and `ipset`",
		Libvirt: "The sign of an element is ignored for `state` and `ipset`, which are always plain conditions.",
		Tapgate: "A negated state holds in every other state, UNTRACKED included; a negated set where the addresses are not in it.",
		Why:     "The filter says the opposite of what libvirt enforces.",
		may: func(h *History) bool {
			return readDifferently(reading{clause: plainState})(h) || readDifferently(reading{beyond: wrongSet})(h)
		},
	},
	{
		ID: "ipset-everywhere", Title: "A set condition holds on every protocol",
		Libvirt: "`ipset` and `ipsetflags` are dropped silently on every element but `all` and `all-ipv6`, so that the rule matches more than it says.",
		Tapgate: "The set is a condition wherever the language allows it.",
		Why:     "A rule must never match more than it says.",
		may:     readDifferently(reading{beyond: noSet}),
	},
	{
		ID: "stp-fields", Title: "Fields of a spanning tree message are where the standard puts them",
		Libvirt: "ebtables takes the protocol identifier for one byte and reads everything behind it one byte early; `type` compares the protocol version.",
		Tapgate: "The fields are read where IEEE 802.1D clause 9 puts them; only configuration messages have them.",
		Why:     "Rules with such fields match by accident.",
		may:     readDifferently(reading{packet: earlySTP}),
	},
	{
		ID: "link-dscp", Title: "`<ip dscp>` compares the DSCP",
		Libvirt: "At the link stage `dscp` is compared with the whole TOS byte: `dscp='8'` matches TOS 0x08, which is DSCP 2.",
		Tapgate: "The upper six bits are compared, as at the network stage.",
		Why:     "The attribute means one thing.",
		may:     readDifferently(reading{packet: wholeTOS}),
	},
	{
		ID: "vlan-encap-names", Title: "Names of inner protocols mean their ethertypes",
		Libvirt: "A literal `encap-protocol` is handed on in decimal and read in hexadecimal: `ipv4` matches the inner type 0x2048.",
		Tapgate: "Names and numbers mean the ethertype that they stand for.",
		Why:     "Such rules match nothing that exists.",
		may:     readDifferently(reading{clause: encapInHex}),
	},
	{
		ID: "arp-masks", Title: "Each address of an ARP rule has its own mask",
		Libvirt: "In a rule with `arpsrcipmask` and without `arpdstipmask` the target address is compared under the sender's mask.",
		Tapgate: "An address without a mask is compared whole.",
		Why:     "A rule must never match more than it says.",
		may:     readDifferently(reading{clause: sourceMask}),
	},
	{
		ID: "chain-order", Title: "Chains of equal priority are entered by name",
		Libvirt: "The order of chains with equal priority depends on a random number of the daemon's process.",
		Tapgate: "They are entered in the order of their names.",
		Why:     "The same filter must do the same thing after a restart.",
		may:     readDifferently(reading{reversed: true}),
	},
	{
		ID: "link-fragments", Title: "Later fragments know their ports at the link stage",
		Libvirt: "A later fragment has no ports at the link stage, where an outgoing datagram is not put together: rules with ports do not match it, and a fragmented datagram that a rule accepts is lost.",
		Tapgate: "Later fragments are judged with the ports of the first one.",
		Why:     "Fragments of one datagram share its fate.",
		may:     readDifferently(reading{packet: linkFragment}),
	},
	{
		ID: "fragment-order", Title: "A fragment before its first one is dropped where a rule needs the ports",
		Libvirt: "Connection tracking waits for all fragments and puts the datagram together, whatever their order.",
		Tapgate: "Fragments are judged as they come. One that comes before the first is dropped if a rule gets to compare ports, flags, ICMP types or states, which only the first one tells.",
		Why:     "Nothing is held back at the port. Networks keep fragments in order, and the sender repeats what is lost.",
		may:     fragmentOrder,
	},
	{
		ID: "short-first-fragment", Title: "A first fragment must hold what rules compare",
		Libvirt: "The transport header may be spread over several fragments, because the datagram is put together first.",
		Tapgate: "A first fragment that lacks a part of its transport header is dropped if a rule gets to compare that part, or a state; so are the fragments after it.",
		Why:     "Such fragments serve to get around filters (RFC 1858). RFC 8200 forbids them for IPv6.",
		may:     shortFirst,
	},
	{
		ID: "bad-checksum", Title: "Transport checksums are not verified",
		Libvirt: "nf_conntrack verifies the checksums of TCP, UDP, UDP-Lite, SCTP, ICMP and ICMPv6; a packet with a wrong one is INVALID and opens no connection.",
		Tapgate: "Checksums are not looked at. What follows in the same connection differs accordingly.",
		Why:     "A receiver drops such packets. The checksum of a packet whose sender leaves it to the device is not there yet at the port.",
		may:     calledInvalid(badChecksum),
	},
	{
		ID: "udplite-tracked", Title: "UDP-Lite is tracked",
		Libvirt: "The kernel verifies UDP-Lite with UDP's protocol number in the pseudo header, so that every correct packet is INVALID.",
		Tapgate: "Correct UDP-Lite packets have states like UDP's.",
		Why:     "Rules with states for UDP-Lite cannot work otherwise.",
		may:     calledInvalid(goodUDPLite),
	},
	{
		ID: "per-port-state", Title: "Connections belong to a port",
		Libvirt: "One table serves the whole host: flows of different guests with the same addresses meet, and a flooded frame whose copy for this guest was dropped makes a connection known if another copy, such as the host's own, passed. When the table is full, connections of any guest give way that are not assured, or TCP and closing.",
		Tapgate: "Each port has connections of its own. A packet that its rules drop opens none. When its quota is full, its oldest TCP connections give way that are not assured or are over, nothing else does.",
		Why:     "One guest must not be able to open another one's port, nor fill its table.",
		may:     flooded,
	},
	{
		ID: "connlimit-count", Title: "`connlimit-above` counts live connections",
		Libvirt: "The kernel's count holds a refused connection until it next cleans up, forgets assured ones that are older than the rule, and counts answers for the answering host. A packet of a connection that is closing is dropped by the rule, whatever its action, if the source has no other.",
		Tapgate: "The live connections that the source opened and the rule saw are counted, nothing else.",
		Why:     "A limit must not depend on when the kernel cleans up.",
		may:     counted,
	},
	{
		ID: "ftp-stream", Title: "Control connections are followed byte by byte",
		Libvirt: "With its helper attached by hand, the kernel reads segments: an FTP command in the first one, behind another one, or split over two, is missed; so is an IRC client's offer unless it begins a segment and ends in it, and a SIP message that is not whole in one segment. A packet with a malformed command or message is dropped; PORT is one if its line ends in LF alone. Numbers that are too large wrap, FTP's port may be 0, `PORTX` is taken for PORT, and short offers of IRC are overlooked. A segment that is sent again announces again. Of an Amanda reply each keyword counts once.",
		Tapgate: "The stream is read as a stream: every command at the start of a line counts, and every SIP message, split or not. A malformed one, also in a datagram (TFTP, Amanda, SIP), announces nothing and passes; so does what UDP's length leaves out, and a number that is too large, or port 0. What is sent again announces nothing anew. Of an Amanda reply every keyword counts. FTP's lines and those of a SIP message may end in LF alone, only whole words are commands, empty lines may stand in front of a message, and CSeq may have several blanks. Of two control connections that announce the same connection the later one has it, where the kernel drops the later packet. No helper has to be attached.",
		Why:     "Clients send what TCP gives them; the data connection's first packet must not depend on that.",
		may:     ftpStream,
	},
	{
		ID: "host-traffic", Title: "What the host sends to a guest is judged",
		Libvirt: "Packets that the host itself sends or routes to a guest never meet the guest's network-stage rules.",
		Tapgate: "Everything that goes to the guest through its port is judged alike.",
		Why:     "A drop-all filter must drop all.",
	},
	{
		ID: "reject-answers", Title: "Rejected packets are always answered, TCP with a reset",
		Libvirt: "The host answers a rejected packet with ICMP port unreachable, TCP too, from its own address on the bridge and by its own routes; without such an address the packet is just dropped.",
		Tapgate: "The answer comes from the packet's destination, and needs no address: RST for TCP, port unreachable for everything else, at most 100 a second for a port and direction after the first 50. What a bridge floods to a guest but is for another MAC address gets none.",
		Why:     "A client should learn at once that it is refused, wherever the guest is plugged in.",
	},
	{
		ID: "learning", Title: "A port that learns addresses is closed, and learns from what can be trusted",
		Libvirt: "While an address is learned from traffic the guest may send IPv4 from any address, and everything reaches it. ARP teaches nothing, IPv6 is not learned. Of several DHCP leases the first counts, any neighbour's answer makes one, a guest's RELEASE and DECLINE do not end it, and a lease without an end has ended at once.",
		Tapgate: "Only what teaches passes: DHCP, neighbour discovery, ARP probes and ARP to the guest. What the guest sends meanwhile is held for the policy that it teaches. ARP teaches, DHCP does where it answers the guest, all leases count; `docs/learning.md` has every rule.",
		Why:     "An unknown address must close a port, not open it.",
		may:     func(h *History) bool { return h.policy.Learning != nil },
	},
}

// acceptances say where another set of documents is taken.
var acceptances = []Acceptance{
	{
		ID:      "ipv6-destination-range",
		Libvirt: "A literal `dstipto` of an IPv6 rule must be an IPv4 address, so that no destination range can be written.",
		Tapgate: "It is an IPv6 address.",
	},
	{
		ID:      "port-end-without-start",
		Libvirt: "`srcportend` or `dstportend` without its start is no condition: the rule matches every port.",
		Tapgate: "It is an error; with `--lenient` a warning.",
	},
	{
		ID:      "ipset-without-flags",
		Libvirt: "`ipset` without `ipsetflags` is no condition: the rule matches everything.",
		Tapgate: "It is an error; with `--lenient` a warning.",
	},
	{
		ID:      "network-continue",
		Libvirt: "`action='continue'` with a network-stage protocol is stored and fails when a port is built.",
		Tapgate: "It is an error when the filter is defined; with `--lenient` when it is bound.",
	},
	{
		ID:      "ignored-variables",
		Libvirt: "A variable for `flags`, `state` or `gratuitous` is stored, and the condition vanishes.",
		Tapgate: "It is an error; with `--lenient` a warning.",
	},
	{
		ID:      "ignored-parts",
		Libvirt: "Unknown elements and attributes, a second protocol in a rule, repeated attributes, a misspelt `match` or `statematch`, and rule priorities out of range are ignored silently.",
		Tapgate: "Each is an error that names the nearest valid word; with `--lenient` a warning.",
	},
	{
		ID:      "typed-variables",
		Libvirt: "The value of a variable is handed to the tools as it is; host and service names are looked up when a port is built.",
		Tapgate: "A value must fit the attribute that it is used for; names of hosts and services are never looked up, `--lenient` or not.",
	},
	{
		ID:      "setting-names",
		Libvirt: "Names that begin with `CTRL_` are like any other, but for `CTRL_IP_LEARNING`.",
		Tapgate: "They are settings of the port. A parameter of a binding that is none, or whose value cannot be, is an error when a port is bound; so is a rule that uses such a name as a variable.",
	},
	{
		ID:      "filter-names",
		Libvirt: "A filter's name is any text and becomes part of a file's name unchecked.",
		Tapgate: "A name that is no XML name is an error; with `--lenient` a warning.",
	},
	{
		ID:      "chain-priority-zero",
		Libvirt: "The priority 0 of a chain is lost when the filter is printed or read again, and becomes the default.",
		Tapgate: "It is kept in the stored filter.",
	},
	{
		ID:      "definition-by-name",
		Libvirt: "A redefinition without the stored UUID is refused.",
		Tapgate: "Without a UUID the name decides.",
	},
	{
		ID:      "undefine-in-use",
		Libvirt: "A filter that others reference can be removed; their ports fail at the next build.",
		Tapgate: "The removal is refused with the list of users, unless it is forced.",
	},
}
