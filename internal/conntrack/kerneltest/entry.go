package kerneltest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// The bits of CTA_STATUS (IPS_EXPECTED …) that are compared.
const (
	statusExpected = 1 << 0
	statusReplied  = 1 << 1
	statusAssured  = 1 << 2
)

const attributeSCTPState = 1 // CTA_PROTOINFO_SCTP_STATE

// entry is a connection as nf_conntrack has it.
type entry struct {
	origin                       tuple
	protoState                   string // TCP's or SCTP's
	replied, assured, isExpected bool
	left                         time.Duration // to live, whole seconds, rounded down
}

// entry finds the live connection of a packet; nil if there is none.
func (k *Kernel) entry(t tuple) (*entry, error) {
	d, err := k.table.ask(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, 0, t.family(), 0,
		func(e *netlink.AttributeEncoder) { e.Nested(nl.CTA_TUPLE_ORIG, t.encode) })
	if isUnknown(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the connection of %v: %w", t, err)
	}
	var x entry
	var proto uint8
	for d.Next() {
		switch d.Type() {
		case nl.CTA_TUPLE_ORIG:
			d.Nested(x.origin.decode)
		case nl.CTA_STATUS:
			status := be.Uint32(d.Bytes())
			x.isExpected, x.replied, x.assured = status&statusExpected != 0, status&statusReplied != 0, status&statusAssured != 0
		case nl.CTA_TIMEOUT:
			x.left = time.Duration(be.Uint32(d.Bytes())) * time.Second
		case nl.CTA_PROTOINFO:
			d.Nested(func(d *netlink.AttributeDecoder) error { return decodeState(d, &proto) })
		}
	}
	switch t.proto {
	case packet.ProtoTCP:
		x.protoState = conntrack.TCPState(proto).String()
	case packet.ProtoSCTP:
		x.protoState = conntrack.SCTPState(proto).String()
	}
	return &x, d.Err()
}

// isUnknown tells the answers about a tuple that no connection has, or that none
// can have: ICMP errors.
func isUnknown(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
}

// decodeState reads the number of TCP's or SCTP's state, which is the tracker's.
func decodeState(d *netlink.AttributeDecoder, state *uint8) error {
	for d.Next() {
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				if d.Type() == attributeSCTPState { // CTA_PROTOINFO_TCP_STATE, too
					*state = d.Uint8()
				}
			}
			return nil
		})
	}
	return nil
}

func (k *Kernel) remove(t tuple) error {
	return k.change(t, nl.IPCTNL_MSG_CT_DELETE, func(*netlink.AttributeEncoder) {})
}

// outlive lets a connection live as long from now on.
func (k *Kernel) outlive(t tuple, left time.Duration) error {
	seconds := (left + time.Second - 1) / time.Second
	return k.change(t, nl.IPCTNL_MSG_CT_NEW, func(e *netlink.AttributeEncoder) {
		e.Bytes(nl.CTA_TIMEOUT, be.AppendUint32(nil, uint32(seconds)))
	})
}

func (k *Kernel) change(t tuple, how uint16, fill func(*netlink.AttributeEncoder)) error {
	_, err := k.table.ask(unix.NFNL_SUBSYS_CTNETLINK<<8|how, netlink.Acknowledge, t.family(), 0, func(e *netlink.AttributeEncoder) {
		e.Nested(nl.CTA_TUPLE_ORIG, t.encode)
		fill(e)
	})
	return err
}

// entries are the live connections of the packets since Reset.
func (k *Kernel) entries() (map[tuple]*entry, error) {
	found := map[tuple]*entry{}
	for t := range k.touched {
		x, err := k.entry(t)
		if err != nil {
			return nil, err
		}
		if x != nil {
			found[x.origin] = x
		}
	}
	return found, nil
}

const (
	// tick is longer than that of a kernel with 250 a second, so that after it what an entry has left
	// is a little less than whole seconds.
	tick = 5 * time.Millisecond

	// maxWait is the pause up to which Elapse waits for answered UDP flows: the
	// kernel keeps their age where nothing reaches it.
	maxWait = 3 * time.Second
)

// Elapse makes all connections and expectations older. What lives on has whole
// seconds left.
func (k *Kernel) Elapse(d time.Duration) error {
	time.Sleep(tick)
	found, err := k.entries()
	if err != nil {
		return err
	}
	expected, err := k.expectations()
	if err != nil {
		return err
	}
	waited := d <= maxWait && slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(t tuple) bool {
		return t.proto == packet.ProtoUDP && found[t].replied
	})
	if waited {
		time.Sleep(d)
	}
	for t, x := range found {
		if err := k.age(t, x.left+time.Second-d, waited); err != nil {
			return fmt.Errorf("change the end of %v: %w", t, err)
		}
	}
	for _, x := range expected {
		if err := k.ageExpectation(x, x.left+time.Second-d, waited); err != nil {
			return fmt.Errorf("change the end of an expectation: %w", err)
		}
	}
	return nil
}

// age leaves a connection a time to live, unless what it had passed by itself.
func (k *Kernel) age(t tuple, left time.Duration, waited bool) error {
	switch {
	case left > 0 && waited:
		return nil
	case left > 0:
		return k.outlive(t, left)
	}
	err := k.remove(t)
	if waited && isUnknown(err) {
		return nil
	}
	return err
}
