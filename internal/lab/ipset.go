package lab

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoIPSet is what CheckIPSet fails with in a kernel without kernel sets.
var ErrNoIPSet = errors.New("the kernel has no ip_set (CONFIG_IP_SET)")

// CheckIPSet fails if sets cannot be made in the namespace of the calling
// thread. An nfnetlink without ip_set answers EINVAL (nfnetlink_rcv_msg).
func CheckIPSet() error {
	_, _, err := netlink.IpsetProtocol()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return ErrNoIPSet
	}
	return err
}
