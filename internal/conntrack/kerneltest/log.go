package kerneltest

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// From <linux/netfilter/nfnetlink_log.h>.
const (
	msgPacket      = unix.NFNL_SUBSYS_ULOG << 8
	msgConfig      = unix.NFNL_SUBSYS_ULOG<<8 | 1
	cfgCommand     = 1 // attributes of msgConfig
	cfgMode        = 2
	cfgThreshold   = 5
	commandBind    = 1
	copyNone       = 0
	attributeLabel = 10 // NFULA_PREFIX, of msgPacket
)

// stateLog receives what the rules write. A packet's label is there when the
// call that sent the packet has returned.
type stateLog struct{ *nfnetlink }

func openLog(ns *lab.Namespace) (*stateLog, error) {
	n, err := dial(ns)
	if err != nil {
		return nil, err
	}
	_, err = n.ask(msgConfig, netlink.Acknowledge, unix.AF_UNSPEC, logGroup, func(e *netlink.AttributeEncoder) {
		e.Bytes(cfgCommand, []byte{commandBind})
		e.Bytes(cfgMode, []byte{0, 0, 0, 0, copyNone, 0})
		e.Bytes(cfgThreshold, be.AppendUint32(nil, 1)) // each packet at once
	})
	if err != nil {
		n.Close()
		return nil, missing("nfnetlink_log", err)
	}
	return &stateLog{n}, nil
}

// read gives the label of the packet that was just sent; no state if the packet
// did not reach the rules.
func (l *stateLog) read() (packet.State, packet.Direction, error) {
	kind, d, err := l.receive()
	if errors.Is(err, errNothing) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the log: %w", err)
	}
	if kind != msgPacket {
		return 0, 0, fmt.Errorf("read the log: a message of type %#x", kind)
	}
	for d.Next() {
		if d.Type() != attributeLabel {
			continue
		}
		text := d.String()
		for _, l := range labels {
			if l.text == text {
				return l.state, l.direction, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("read the log: a packet without a label: %w", d.Err())
}
