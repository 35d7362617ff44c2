package lab

import (
	"context"
	"fmt"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// setUp switches a device on; see waitRunning for when frames pass.
func (ns *Namespace) setUp(device string) error {
	link, err := ns.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find device %s in namespace %s: %w", device, ns.name, err)
	}
	if err := ns.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set device %s up in namespace %s: %w", device, ns.name, err)
	}
	return nil
}

// waitRunning returns when every device can carry frames, as told by the kernel. A bridge starts
// to forward to a port before the kernel announces that the port runs (linkwatch calls the bridge
// first), so waiting for the port is enough.
func (ns *Namespace) waitRunning(ctx context.Context, devices ...string) error {
	waiting := map[string]bool{}
	for _, device := range devices {
		waiting[device] = true
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()

	updates := make(chan netlink.LinkUpdate)
	done := make(chan struct{})
	// ListExisting: what happened before the subscription is reported as well.
	options := netlink.LinkSubscribeOptions{Namespace: &ns.fd, ListExisting: true}
	if err := netlink.LinkSubscribeWithOptions(updates, done, options); err != nil {
		return fmt.Errorf("watch devices of namespace %s: %w", ns.name, err)
	}
	defer func() {
		close(done)
		for range updates { // until the subscription's goroutine has ended
		}
	}()

	for len(waiting) > 0 {
		select {
		case update, ok := <-updates:
			if !ok {
				return fmt.Errorf("watch devices of namespace %s: the subscription ended", ns.name)
			}
			const ready = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
			if update.IfInfomsg.Flags&ready == ready {
				delete(waiting, update.Attrs().Name)
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for devices of namespace %s to run: %w", ns.name, ctx.Err())
		}
	}
	return nil
}

// SetChecksumOffload says whether the kernel may leave the transport checksum of what it sends on
// a device to a NIC that does not exist here. With the offload (the default of a new veth and of
// real guests) frames carry unfinished checksums and may be larger than the MTU; the lab's own
// guests have it off, so that frames look as they would on a wire.
func (ns *Namespace) SetChecksumOffload(device string, on bool) error {
	err := ns.Do(func() error {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer tool.Close()
		return tool.Change(device, map[string]bool{"tx-checksum-ip-generic": on})
	})
	if err != nil {
		return fmt.Errorf("set checksum offload of device %s in namespace %s: %w", device, ns.name, err)
	}
	return nil
}

// FlushNeighbours forgets what the namespace knows of its neighbours' MAC addresses, so that the
// next packet needs ARP or neighbour discovery again.
func (ns *Namespace) FlushNeighbours() error {
	neighbours, err := ns.links.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list neighbours of namespace %s: %w", ns.name, err)
	}
	for i := range neighbours {
		if neighbours[i].State&unix.NUD_NOARP != 0 { // loopback and multicast
			continue
		}
		if err := ns.links.NeighDel(&neighbours[i]); err != nil {
			return fmt.Errorf("forget neighbour %s in namespace %s: %w", neighbours[i].IP, ns.name, err)
		}
	}
	return nil
}
