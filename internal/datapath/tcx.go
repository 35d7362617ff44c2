package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// tcx attaches by bpf links that are pinned in the port's directory: nobody
// takes them off by accident, and they end with the device, not its name.
type tcx struct {
	portDir string
	device  device.Device
}

func (t *tcx) mechanism() Mechanism { return TCX }

func linkPin(portDir string, d policy.Direction) string {
	return filepath.Join(portDir, "link_"+d.String())
}

// linkStatus is what a pinned link says of itself.
type linkStatus struct {
	link    link.Link
	program ebpf.ProgramID
	// ifindex is 0 once the device is gone, or the link was detached by force.
	ifindex int
}

// openLink opens the link of a direction; its link is nil if there is none.
func openLink(portDir string, d policy.Direction) (linkStatus, error) {
	l, err := link.LoadPinnedLink(linkPin(portDir, d), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return linkStatus{}, nil
	}
	if err != nil {
		return linkStatus{}, err
	}
	info, err := l.Info()
	if err != nil {
		l.Close()
		return linkStatus{}, err
	}
	s := linkStatus{link: l, program: info.Program}
	if tcx := info.TCX(); tcx != nil {
		s.ifindex = int(tcx.Ifindex)
	}
	return s, nil
}

func (t *tcx) attached(d policy.Direction) (ebpf.ProgramID, error) {
	s, err := openLink(t.portDir, d)
	if err != nil || s.link == nil {
		return 0, err
	}
	defer s.link.Close()
	if s.ifindex == 0 {
		return 0, nil
	}
	return s.program, nil
}

func (t *tcx) attach(d policy.Direction, prog *ebpf.Program) error {
	s, err := openLink(t.portDir, d)
	if err != nil {
		return err
	}
	if s.link != nil {
		defer s.link.Close()
		if s.ifindex == t.device.Index {
			return s.link.Update(prog)
		}
	}
	side := ebpf.AttachTCXEgress
	if received(t.device, d) {
		side = ebpf.AttachTCXIngress
	}
	l, err := link.AttachTCX(link.TCXOptions{
		Interface: t.device.Index,
		Program:   prog,
		Attach:    side,
		Anchor:    link.Head(),
	})
	if err != nil {
		return err
	}
	defer l.Close()
	// Renamed, because the link of a device that is gone may be in the place.
	aside := linkPin(t.portDir, d) + "_new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := l.Pin(aside); err != nil {
		return err
	}
	return os.Rename(aside, linkPin(t.portDir, d))
}

// detach works from every network namespace.
func (t *tcx) detach(d policy.Direction) error {
	s, err := openLink(t.portDir, d)
	if err != nil || s.link == nil {
		return err
	}
	defer s.link.Close()
	if s.ifindex != 0 {
		// Closing is not enough while another process looks at the link.
		if err := s.link.Detach(); err != nil {
			return fmt.Errorf("detach tcx link: %w", err)
		}
	}
	return s.link.Unpin()
}
