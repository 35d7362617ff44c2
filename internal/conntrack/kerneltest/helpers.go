package kerneltest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"tapgate/internal/conntrack"
)

// Help attaches the kernel's helpers to the connections to these ports from now
// on, in place of those before. Where a helper is missing it fails with an
// ErrMissing.
func (k *Kernel) Help(services []conntrack.Service) error {
	c, err := nftables.New(nftables.WithNetNSFd(k.ns.FD()))
	if err != nil {
		return err
	}
	// Adding a table that is there changes nothing, so that there always is one to delete.
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "helpers"}
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: "prerouting", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	var names []string
	for _, s := range services {
		names = append(names, s.Helper.String())
		name := fmt.Sprintf("%s-%d-%d", s.Helper, s.Proto, s.Port)
		c.AddObj(&nftables.NamedObj{
			Table: table, Name: name, Type: nftables.ObjTypeCtHelper,
			Obj: &expr.CtHelper{Name: s.Helper.String(), L4Proto: s.Proto},
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{s.Proto}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be.AppendUint16(nil, s.Port)},
			&expr.Objref{Type: int(nftables.ObjTypeCtHelper), Name: name},
		}})
	}
	err = c.Flush()
	if errors.Is(err, unix.ENOENT) {
		return ErrMissing{"helper " + strings.Join(names, " or "), err}
	}
	return err
}
