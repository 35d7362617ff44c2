package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// Our filter is the one with this handle and priority on the device's hook:
// the smallest priority, and a handle that nobody takes by default.
const (
	filterHandle   = 0x7467
	filterPriority = 1
)

// clsact attaches by a cls_bpf filter with direct action. The filter lives on
// the device itself and ends with it.
type clsact struct {
	device device.Device
}

func (c *clsact) mechanism() Mechanism { return Clsact }

func (c *clsact) hook(d policy.Direction) uint32 {
	if received(c.device, d) {
		return netlink.HANDLE_MIN_INGRESS
	}
	return netlink.HANDLE_MIN_EGRESS
}

func (c *clsact) qdisc() *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: c.device.Index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

// find gives our filter and how many others there are on the hook.
func (c *clsact) find(d policy.Direction) (ours *netlink.BpfFilter, others int, err error) {
	l := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: c.device.Index}}
	filters, err := netlink.FilterList(l, c.hook(d))
	if errors.Is(err, unix.EINVAL) { // there is no clsact qdisc
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list clsact filters: %w", err)
	}
	for _, f := range filters {
		bpf, ok := f.(*netlink.BpfFilter)
		if ok && bpf.Handle == filterHandle && bpf.Priority == filterPriority {
			ours = bpf
		} else {
			others++
		}
	}
	return ours, others, nil
}

func (c *clsact) attached(d policy.Direction) (ebpf.ProgramID, error) {
	f, _, err := c.find(d)
	if err != nil || f == nil {
		return 0, err
	}
	return ebpf.ProgramID(f.Id), nil
}

func (c *clsact) attach(d policy.Direction, prog *ebpf.Program) error {
	if err := netlink.QdiscAdd(c.qdisc()); err != nil && !errors.Is(err, unix.EEXIST) {
		return clsactError("add clsact qdisc", err)
	}
	err := netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: c.device.Index,
			Parent:    c.hook(d),
			Handle:    filterHandle,
			Priority:  filterPriority,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd:           prog.FD(),
		Name:         programs[d],
		DirectAction: true,
	})
	if err != nil {
		return clsactError("attach clsact filter", err)
	}
	return nil
}

// detach removes the qdisc as well when nothing else is on it.
func (c *clsact) detach(d policy.Direction) error {
	f, _, err := c.find(d)
	if err != nil || f == nil {
		return err
	}
	if err := netlink.FilterDel(f); err != nil {
		return fmt.Errorf("detach clsact filter: %w", err)
	}
	for _, d := range policy.Directions {
		ours, others, err := c.find(d)
		if err != nil || ours != nil || others > 0 {
			return err
		}
	}
	if err := netlink.QdiscDel(c.qdisc()); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove clsact qdisc: %w", err)
	}
	return nil
}

func clsactError(what string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%s: the kernel lacks CONFIG_NET_SCH_INGRESS or CONFIG_NET_CLS_BPF: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, needsRoot(err))
}
