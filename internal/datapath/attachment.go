package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// attachment is a way to put programs on a port's device. Both ways put them
// before the programs of others and let what passes go on to those.
type attachment interface {
	mechanism() Mechanism
	// attached gives the ID of the program that sees the frames of a
	// direction, 0 if there is none of ours.
	attached(d policy.Direction) (ebpf.ProgramID, error)
	// attach puts a program on the device, or in the place of ours, without a
	// moment in which there is none.
	attach(d policy.Direction, prog *ebpf.Program) error
	// detach takes ours off; nothing to do if there is none.
	detach(d policy.Direction) error
}

var (
	_ attachment = (*tcx)(nil)
	_ attachment = (*clsact)(nil)
)

// newAttachment gives the port's way of attaching by a mechanism.
func newAttachment(m Mechanism, portDir string, dev device.Device) attachment {
	if m == Clsact {
		return &clsact{dev}
	}
	return &tcx{portDir, dev}
}

// received tells whether frames of a direction are those that the device
// receives (ingress), or those that it transmits.
func received(dev device.Device, d policy.Direction) bool {
	return (d == policy.Out) != dev.IsMacvtap()
}

// swapped tells whether a device of a kind transmits what the guest sends.
func swapped(kind string) bool {
	return !received(device.Device{Kind: kind}, policy.Out)
}

// attachBoth attaches a pair of programs, in first: a reply must not arrive
// before the program that admits it. If the second fails, the first is put
// back to what it was, which before opens; nil for none.
func attachBoth(a attachment, programs [2]*ebpf.Program, before func(policy.Direction) (*ebpf.Program, error)) error {
	for i, d := range policy.Directions {
		err := a.attach(d, programs[d])
		if err == nil {
			continue
		}
		err = fmt.Errorf("direction %s: %w", d, err)
		for _, done := range policy.Directions[:i] {
			err = errors.Join(err, putBack(a, done, before))
		}
		return err
	}
	return nil
}

func putBack(a attachment, d policy.Direction, before func(policy.Direction) (*ebpf.Program, error)) error {
	prog, err := before(d)
	if err != nil {
		return err
	}
	if prog == nil {
		return a.detach(d)
	}
	return a.attach(d, prog)
}
