package kerneltest

import (
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// From <linux/netfilter/nfnetlink_conntrack.h>.
const (
	msgNewExpectation    = unix.NFNL_SUBSYS_CTNETLINK_EXP << 8 // IPCTNL_MSG_EXP_NEW …
	msgGetExpectations   = unix.NFNL_SUBSYS_CTNETLINK_EXP<<8 | 1
	msgDeleteExpectation = unix.NFNL_SUBSYS_CTNETLINK_EXP<<8 | 2

	expectationMaster  = 1 // CTA_EXPECT_…
	expectationTuple   = 2
	expectationMask    = 3
	expectationTimeout = 4
)

// expectation is what a helper awaits. The kernel takes its attributes back as
// it told them.
type expectation struct {
	family              uint8
	master, tuple, mask []byte
	left                time.Duration // to live, whole seconds, rounded down
}

func (k *Kernel) expectations() (all []expectation, err error) {
	err = k.table.list(msgGetExpectations, func(family uint8, d *netlink.AttributeDecoder) error {
		x := expectation{family: family}
		for d.Next() {
			switch d.Type() {
			case expectationMaster:
				x.master = d.Bytes()
			case expectationTuple:
				x.tuple = d.Bytes()
			case expectationMask:
				x.mask = d.Bytes()
			case expectationTimeout:
				x.left = time.Duration(be.Uint32(d.Bytes())) * time.Second
			}
		}
		all = append(all, x)
		return d.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list expectations: %w", err)
	}
	return all, nil
}

// ageExpectation leaves it a time to live, unless what it had passed by itself.
// It may be gone with its connection.
func (k *Kernel) ageExpectation(x expectation, left time.Duration, waited bool) error {
	if left > 0 && waited {
		return nil
	}
	how, seconds := uint16(msgDeleteExpectation), uint32(0)
	if left > 0 {
		how, seconds = msgNewExpectation, uint32((left+time.Second-1)/time.Second)
	}
	_, err := k.table.ask(how, netlink.Acknowledge, x.family, 0, func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.NLA_F_NESTED|expectationMaster, x.master)
		e.Bytes(unix.NLA_F_NESTED|expectationTuple, x.tuple)
		e.Bytes(unix.NLA_F_NESTED|expectationMask, x.mask)
		e.Bytes(expectationTimeout, be.AppendUint32(nil, seconds))
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
