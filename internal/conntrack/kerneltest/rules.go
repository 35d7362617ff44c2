package kerneltest

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"tapgate/internal/packet"
)

// logGroup is the nfnetlink_log group that the rules write to.
const logGroup = 7

// The bits of nftables' ct state (NF_CT_STATE_INVALID_BIT,
// NF_CT_STATE_BIT, NF_CT_STATE_UNTRACKED_BIT).
const (
	ctInvalid     = 1 << 0
	ctEstablished = 1 << 1
	ctRelated     = 1 << 2
	ctNew         = 1 << 3
	ctUntracked   = 1 << 6
)

// label is what the rules write about a packet: a letter for its state, one for
// its direction.
type label struct {
	text      string
	bit       uint32
	state     packet.State
	direction packet.Direction
}

var labels = []label{
	{"i", ctInvalid, packet.StateInvalid, 0},
	{"u", ctUntracked, packet.StateUntracked, 0},
	{"no", ctNew, packet.StateNew, packet.Original},
	{"nr", ctNew, packet.StateNew, packet.Reply},
	{"eo", ctEstablished, packet.StateEstablished, packet.Original},
	{"er", ctEstablished, packet.StateEstablished, packet.Reply},
	{"ro", ctRelated, packet.StateRelated, packet.Original},
	{"rr", ctRelated, packet.StateRelated, packet.Reply},
}

// installRules makes a table that tells each packet's state, drops what was
// received on the refusing device, and keeps the host itself silent.
func installRules(ns int) error {
	c, err := nftables.New(nftables.WithNetNSFd(ns))
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "states"})
	chain := func(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority})
	}
	drop := &expr.Verdict{Kind: expr.VerdictDrop}

	prerouting := chain("prerouting", nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle)
	for _, l := range labels {
		c.AddRule(&nftables.Rule{Table: table, Chain: prerouting, Exprs: l.rule()})
	}
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, refusedDevice)
	c.AddRule(&nftables.Rule{
		Table: table,
		Chain: chain("forward", nftables.ChainHookForward, *nftables.ChainPriorityFilter),
		Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			drop,
		},
	})
	c.AddRule(&nftables.Rule{
		Table: table,
		Chain: chain("output", nftables.ChainHookOutput, *nftables.ChainPriorityConntrackDefrag-1),
		Exprs: []expr.Any{drop},
	})
	return c.Flush()
}

// rule logs packets of the label's state and direction.
func (l label) rule() []expr.Any {
	zero := make([]byte, 4)
	exprs := []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native.AppendUint32(nil, l.bit), Xor: zero},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: zero},
	}
	if l.direction != 0 {
		exprs = append(exprs,
			&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(l.direction) - byte(packet.Original)}})
	}
	return append(exprs, &expr.Log{
		Key:   1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX,
		Group: logGroup,
		Data:  []byte(l.text),
	})
}
