// Package kerneltest puts packets through the nf_conntrack of the running
// kernel, so that the tracker can be compared with what it imitates.
package kerneltest

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

const ethernetHeader = 14

// maxMTU lets every packet through as it is.
const maxMTU = 65535

// The devices of the namespace.
const (
	acceptedDevice = "accepted" // what is received here is forwarded
	refusedDevice  = "refused"  // likewise, but a rule drops it after it was tracked
	sinkDevice     = "sink"     // where everything is forwarded to
)

// Kernel is a network namespace of its own that forwards packets and tracks
// them. It is not safe for concurrent use.
type Kernel struct {
	ns                *lab.Namespace
	accepted, refused *lab.Tun
	table             *nfnetlink // of connections
	log               *stateLog
	touched           map[tuple]bool // of packets since Reset
}

// New makes the namespace. Without the rights it fails with lab.ErrNeedsRoot, in a
// kernel without nf_tables or nf_conntrack with an ErrMissing.
func New() (*Kernel, error) {
	ns, err := lab.NewNamespace("tracker")
	if err != nil {
		return nil, err
	}
	k := &Kernel{ns: ns, touched: map[tuple]bool{}}
	if err := k.build(); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// ErrMissing tells that the kernel lacks what the comparison needs.
type ErrMissing struct {
	What string
	Err  error
}

// missing makes an ErrMissing of a failure, if it is that of a kernel which was
// built without.
func missing(what string, err error) error {
	for _, none := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT} {
		if errors.Is(err, none) {
			return ErrMissing{what, err}
		}
	}
	return fmt.Errorf("set up %s: %w", what, err)
}

func (e ErrMissing) Error() string { return fmt.Sprintf("the kernel has no %s: %v", e.What, e.Err) }
func (e ErrMissing) Unwrap() error { return e.Err }

func (k *Kernel) build() error {
	for _, s := range []struct{ path, value string }{
		{"ipv4/ip_forward", "1"},
		{"ipv6/conf/all/forwarding", "1"},
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "0"},
	} {
		if err := k.ns.SetSysctl(s.path, s.value); err != nil {
			return err
		}
	}
	var err error
	if k.accepted, err = k.ns.AddTun(acceptedDevice); err != nil {
		return err
	}
	if k.refused, err = k.ns.AddTun(refusedDevice); err != nil {
		return err
	}
	if _, err = k.ns.AddTun(sinkDevice); err != nil {
		return err
	}
	if err := k.route(); err != nil {
		return err
	}
	if err := installRules(k.ns.FD()); err != nil {
		return missing("nf_tables that match connection states", err)
	}
	// Only now: the first rule that asks for a state brings them about. Checksums
	// are another subject, and are not right here.
	if err := k.Set("nf_conntrack_checksum", 0); err != nil {
		return missing("nf_conntrack", err)
	}
	if k.table, err = dial(k.ns); err != nil {
		return err
	}
	k.log, err = openLog(k.ns)
	return err
}

// route leads everything to the sink.
func (k *Kernel) route() error {
	sink, err := k.ns.Links().LinkByName(sinkDevice)
	if err != nil {
		return err
	}
	if err := k.ns.Links().LinkSetMTU(sink, maxMTU); err != nil {
		return err
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		_, dst, _ := net.ParseCIDR(all)
		route := &netlink.Route{LinkIndex: sink.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}
		if err := k.ns.Links().RouteAdd(route); err != nil {
			return fmt.Errorf("add route %s: %w", all, err)
		}
	}
	return nil
}

// Close removes the namespace.
func (k *Kernel) Close() {
	if k.table != nil {
		k.table.Close()
	}
	if k.log != nil {
		k.log.Close()
	}
	k.ns.Close()
}

// Set changes a value of nf_conntrack by its name in /proc/sys/net/netfilter.
func (k *Kernel) Set(name string, value int) error {
	return k.ns.SetSysctl("netfilter/"+name, fmt.Sprint(value))
}

// Judge tells a frame's state and direction. If accept is false, a rule drops
// the packet afterwards. No state: the packet did not reach the rules.
func (k *Kernel) Judge(frame []byte, accept bool) (packet.State, packet.Direction, error) {
	p := packet.Decode(frame, true)
	if t, ok := tupleOf(&p); ok {
		k.touched[t] = true
	}
	device := k.accepted
	if !accept {
		device = k.refused
	}
	if err := device.Send(withoutPadding(frame, &p)); err != nil {
		return 0, 0, fmt.Errorf("send through %s: %w", device.Name, err)
	}
	return k.log.read()
}

// withoutPadding is the frame's IP packet.
func withoutPadding(frame []byte, p *packet.Packet) []byte {
	if end := p.L4Offset + p.L4Length; end > ethernetHeader {
		return frame[ethernetHeader:end]
	}
	return frame[ethernetHeader:]
}

// Reset removes the connections of all packets that were judged.
func (k *Kernel) Reset() error {
	for t := range k.touched {
		if err := k.remove(t); err != nil && !isUnknown(err) {
			return err
		}
	}
	clear(k.touched)
	return nil
}
