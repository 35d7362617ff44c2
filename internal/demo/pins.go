package demo

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tapgate/internal/datapath"
)

// pins is a bpffs that is mounted nowhere: it ends with its file descriptor,
// and real installations never see it.
type pins struct{ mount int }

func newPins() (*pins, error) {
	mount, err := mountNowhere("bpf")
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("the demo %w", datapath.ErrNeedsRoot)
	case errors.Is(err, unix.ENODEV):
		return nil, errors.New("the kernel has no bpffs (CONFIG_BPF_SYSCALL)")
	case err != nil:
		return nil, fmt.Errorf("make a bpffs (needs Linux 5.3): %w", err)
	}
	return &pins{mount}, nil
}

// mountNowhere gives a new file system of a type as a detached mount.
func mountNowhere(fsType string) (int, error) {
	context, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return 0, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// dir is the directory for the datapath, as this process and others see it.
func (p *pins) dir() string { return fmt.Sprintf("/proc/%d/fd/%d/tapgate", os.Getpid(), p.mount) }

func (p *pins) close() { _ = unix.Close(p.mount) }
