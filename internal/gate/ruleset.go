package gate

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What the gate is made of, as `nft list table netdev tapgate` shows it:
//
//	table netdev tapgate {
//		flags owner,persist
//		set admitted { type iface_index; elements = { … } }
//		counter ingress { packets … bytes … }
//		counter egress { packets … bytes … }
//		chain ingress {
//			type filter hook ingress devices = { "vnet*" } priority -2147483648; policy drop;
//			iif @admitted accept
//			counter name "ingress" drop
//		}
//		chain egress { … the same with egress and oif … }
//	}
//
// A gate that takes the place of another is made in the transaction that takes the other away. The
// new chain's hook is registered while the kernel reads the transaction, before the chain has rules,
// but a policy of drop is deferred to the end of the commit (nft_chain_commit_drop_policy), so that
// running guests lose nothing. The chain that goes has no rules from the commit on, and its policy
// decides until its hook is unregistered, a few microseconds later. There accept would be a way in: a
// packet that found the hooks before the new one was there may meet the old chain after the commit. So
// the policy is drop, and the rule that drops is there for its counter. A device that appears waits for
// the whole transaction (nf_tables_netdev_event takes the mutex of the commit).
const (
	tableName = "tapgate"
	setName   = "admitted"
)

// What golang.org/x/sys does not have of <linux/netfilter/nf_tables.h>.
const (
	msgDestroyTable   = 26 // NFT_MSG_DESTROYTABLE, of 6.3: a deletion of what may not be there
	msgDestroyElement = 30 // NFT_MSG_DESTROYSETELEM, of 6.3

	verdictDrop   = 0 // NF_DROP
	verdictAccept = 1 // NF_ACCEPT

	attrTableOwner   = 7 // NFTA_TABLE_OWNER
	attrHookDevs     = 4 // NFTA_HOOK_DEVS
	attrDeviceName   = 1 // NFTA_DEVICE_NAME
	attrDevicePrefix = 2 // NFTA_DEVICE_PREFIX, of 6.17
	tableOwner       = 2 // NFT_TABLE_F_OWNER, of 5.12
	tablePersist     = 4 // NFT_TABLE_F_PERSIST, of 6.9
	// priority is before everything else at the hook, so that nothing sees what the gate drops.
	priority = math.MinInt32
	// MaxAdmitted is how many devices a gate admits at most; it takes half a megabyte.
	MaxAdmitted = 32768
	// ifindexType is how nft knows a set of interface indices, to print names.
	ifindexType = 20
)

// hook is one of the two places where the gate stands, and the name of its chain and its counter.
type hook struct {
	name   string
	number uint32
	// key loads the index of the device that the hook is about.
	key  uint32
	step step
}

var (
	ingress = hook{"ingress", unix.NF_NETDEV_INGRESS, unix.NFT_META_IIF, stepIngress}
	egress  = hook{"egress", unix.NF_NETDEV_EGRESS, unix.NFT_META_OIF, stepEgress}
)

type attributes = netlink.AttributeEncoder

// removal takes the gate away, if there is one; from a living owner it fails with EPERM.
func removal() message {
	return message{kind: msgDestroyTable, step: stepReplace, what: "remove the gate before", fill: func(e *attributes) {
		e.String(unix.NFTA_TABLE_NAME, tableName)
	}}
}

// construction makes the gate.
func construction(patterns []pattern, admitted []int, counts Shutouts) []message {
	messages := []message{
		{kind: unix.NFT_MSG_NEWTABLE, flags: netlink.Create | netlink.Excl, step: stepTable, what: "make the table", fill: func(e *attributes) {
			e.String(unix.NFTA_TABLE_NAME, tableName)
			e.Uint32(unix.NFTA_TABLE_FLAGS, tableOwner|tablePersist)
		}},
		{kind: unix.NFT_MSG_NEWSET, flags: netlink.Create | netlink.Excl, step: stepOther, what: "make the set", fill: set},
	}
	messages = append(messages, elements(unix.NFT_MSG_NEWSETELEM, admitted)...)
	for _, h := range []hook{ingress, egress} {
		messages = append(messages, counter(h, counts), chain(h, patterns), rule(h, admits), rule(h, drops))
	}
	return messages
}

func set(e *attributes) {
	e.String(unix.NFTA_SET_TABLE, tableName)
	e.String(unix.NFTA_SET_NAME, setName)
	e.Uint32(unix.NFTA_SET_ID, 1)
	e.Uint32(unix.NFTA_SET_KEY_TYPE, ifindexType)
	e.Uint32(unix.NFTA_SET_KEY_LEN, 4)
	// With a size, the set is a hash of fixed size (nft_hash_fast). Without, it is one that grows, whose
	// listing gives members twice or not at all while it does.
	e.Nested(unix.NFTA_SET_DESC, func(e *attributes) error {
		e.Uint32(unix.NFTA_SET_DESC_SIZE, MaxAdmitted)
		return nil
	})
	// For nft alone: the key is in the host's byte order (NFTNL_UDATA_SET_KEYBYTEORDER is 0).
	e.Bytes(unix.NFTA_SET_USERDATA, binary.NativeEndian.AppendUint32([]byte{0, 4}, 1))
}

// perMessage keeps the list in a message below an attribute's 64 KiB.
const perMessage = 2000

// elements are what adds indices to the set, or takes them out of it.
func elements(kind int, indices []int) []message {
	var messages []message
	for some := range slices.Chunk(indices, perMessage) {
		messages = append(messages, message{kind: kind, flags: netlink.Create, step: stepOther, what: "change the set", fill: func(e *attributes) {
			e.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
			e.String(unix.NFTA_SET_ELEM_LIST_SET, setName)
			e.Nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(e *attributes) error {
				for _, index := range some {
					e.Nested(unix.NFTA_LIST_ELEM, func(e *attributes) error {
						e.Nested(unix.NFTA_SET_ELEM_KEY, func(e *attributes) error {
							e.Bytes(unix.NFTA_DATA_VALUE, binary.NativeEndian.AppendUint32(nil, uint32(index)))
							return nil
						})
						return nil
					})
				}
				return nil
			})
		}})
	}
	return messages
}

// counter goes on where the gate before left off.
func counter(h hook, counts Shutouts) message {
	return message{kind: unix.NFT_MSG_NEWOBJ, flags: netlink.Create | netlink.Excl, step: stepOther, what: "make the counter at " + h.name, fill: func(e *attributes) {
		e.String(unix.NFTA_OBJ_TABLE, tableName)
		e.String(unix.NFTA_OBJ_NAME, h.name)
		e.Uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
		e.Nested(unix.NFTA_OBJ_DATA, func(e *attributes) error {
			count := counts.at(h)
			e.Uint64(unix.NFTA_COUNTER_BYTES, count.Bytes)
			e.Uint64(unix.NFTA_COUNTER_PACKETS, count.Packets)
			return nil
		})
	}}
}

func chain(h hook, patterns []pattern) message {
	return message{kind: unix.NFT_MSG_NEWCHAIN, flags: netlink.Create | netlink.Excl, step: h.step, what: "hook the chain at " + h.name, fill: func(e *attributes) {
		e.String(unix.NFTA_CHAIN_TABLE, tableName)
		e.String(unix.NFTA_CHAIN_NAME, h.name)
		e.String(unix.NFTA_CHAIN_TYPE, "filter")
		e.Uint32(unix.NFTA_CHAIN_POLICY, verdictDrop)
		e.Nested(unix.NFTA_CHAIN_HOOK, func(e *attributes) error {
			lowest := int32(priority)
			e.Uint32(unix.NFTA_HOOK_HOOKNUM, h.number)
			e.Uint32(unix.NFTA_HOOK_PRIORITY, uint32(lowest))
			e.Nested(attrHookDevs, func(e *attributes) error {
				for _, p := range patterns {
					kind := uint16(attrDeviceName)
					if p.prefix {
						kind = attrDevicePrefix
					}
					e.String(kind, p.name)
				}
				return nil
			})
			return nil
		})
	}}
}

// rule appends a rule to the chain of a hook.
func rule(h hook, expressions func(hook, *list)) message {
	return message{kind: unix.NFT_MSG_NEWRULE, flags: netlink.Create | netlink.Append, step: stepOther, what: "make the rules at " + h.name, fill: func(e *attributes) {
		e.String(unix.NFTA_RULE_TABLE, tableName)
		e.String(unix.NFTA_RULE_CHAIN, h.name)
		e.Nested(unix.NFTA_RULE_EXPRESSIONS, func(e *attributes) error {
			expressions(h, &list{e})
			return nil
		})
	}}
}

// list is the expressions of a rule.
type list struct{ *attributes }

// add appends one expression, such as "lookup", with its attributes.
func (l *list) add(name string, fill func(*attributes)) {
	l.Nested(unix.NFTA_LIST_ELEM, func(e *attributes) error {
		e.String(unix.NFTA_EXPR_NAME, name)
		e.Nested(unix.NFTA_EXPR_DATA, func(e *attributes) error {
			fill(e)
			return nil
		})
		return nil
	})
}

func (l *list) verdict(code uint32) {
	l.add("immediate", func(e *attributes) {
		e.Uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
		e.Nested(unix.NFTA_IMMEDIATE_DATA, func(e *attributes) error {
			e.Nested(unix.NFTA_DATA_VERDICT, func(e *attributes) error {
				e.Uint32(unix.NFTA_VERDICT_CODE, code)
				return nil
			})
			return nil
		})
	})
}

// admits is `iif @admitted accept`, or with oif.
func admits(h hook, l *list) {
	l.add("meta", func(e *attributes) {
		e.Uint32(unix.NFTA_META_DREG, unix.NFT_REG_1)
		e.Uint32(unix.NFTA_META_KEY, h.key)
	})
	l.add("lookup", func(e *attributes) {
		e.String(unix.NFTA_LOOKUP_SET, setName)
		e.Uint32(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1)
	})
	l.verdict(verdictAccept)
}

// drops is `counter name … drop`.
func drops(h hook, l *list) {
	l.add("objref", func(e *attributes) {
		e.Uint32(unix.NFTA_OBJREF_IMM_TYPE, unix.NFT_OBJECT_COUNTER)
		e.String(unix.NFTA_OBJREF_IMM_NAME, h.name)
	})
	l.verdict(verdictDrop)
}

// members reads the set. Where there is no gate, the error is ENOENT.
func (s *socket) members() ([]int, error) {
	for {
		var indices []int
		err := s.ask(unix.NFT_MSG_GETSETELEM, netlink.Dump, func(e *attributes) {
			e.String(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
			e.String(unix.NFTA_SET_ELEM_LIST_SET, setName)
		}, func(d *netlink.AttributeDecoder) {
			find(d, func(key []byte) {
				if len(key) == 4 {
					indices = append(indices, int(binary.NativeEndian.Uint32(key)))
				}
			}, unix.NFTA_SET_ELEM_LIST_ELEMENTS, unix.NFTA_LIST_ELEM, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE)
		})
		if !errors.Is(err, errInterrupted) {
			return indices, err
		}
	}
}

// count reads a counter.
func (s *socket) count(h hook) (Count, error) {
	var count Count
	err := s.ask(unix.NFT_MSG_GETOBJ, 0, func(e *attributes) {
		e.String(unix.NFTA_OBJ_TABLE, tableName)
		e.String(unix.NFTA_OBJ_NAME, h.name)
		e.Uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
	}, func(d *netlink.AttributeDecoder) {
		for d.Next() {
			if d.Type() != unix.NFTA_OBJ_DATA {
				continue
			}
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					switch d.Type() {
					case unix.NFTA_COUNTER_BYTES:
						count.Bytes = d.Uint64()
					case unix.NFTA_COUNTER_PACKETS:
						count.Packets = d.Uint64()
					}
				}
				return nil
			})
		}
	})
	return count, err
}

// owner reads the netlink port of the gate's owner, 0 for an orphan. Where there is no gate, the
// error is ENOENT.
func (s *socket) owner() (uint32, error) {
	var port uint32
	err := s.ask(unix.NFT_MSG_GETTABLE, 0, func(e *attributes) {
		e.String(unix.NFTA_TABLE_NAME, tableName)
	}, func(d *netlink.AttributeDecoder) {
		for d.Next() {
			if d.Type() == attrTableOwner {
				port = d.Uint32()
			}
		}
	})
	return port, err
}

// find gives the bytes of every attribute at the end of a path.
func find(d *netlink.AttributeDecoder, give func([]byte), path ...uint16) {
	for d.Next() {
		switch {
		case d.Type() != path[0]:
		case len(path) == 1:
			give(d.Bytes())
		default:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				find(d, give, path[1:]...)
				return nil
			})
		}
	}
}
