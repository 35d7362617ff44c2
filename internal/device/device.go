// Package device finds network devices and tells what the datapath must know
// of them. It looks into the network namespace of the calling thread.
package device

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is a network device at one moment.
type Device struct {
	Name string
	// Index is unique in the namespace, for as long as the device lives.
	Index int
	// Kind is the kernel's name of its driver: veth, tun, macvtap, …
	Kind string
	// Namespace is the cookie of its network namespace, which is never given
	// twice before a reboot.
	Namespace uint64
	// Bridge is the index of the bridge, or other device, that it is a port of; 0
	// if of none.
	Bridge int
}

// NotFoundError says that there is no such device.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no network device %s", e.Name)
}

// ByName finds a device by its name; alternative names are refused, so that a
// port has one name.
func ByName(name string) (Device, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return Device{}, lookupError(name, err)
	}
	if canonical := l.Attrs().Name; canonical != name {
		return Device{}, fmt.Errorf("%s is an alternative name of the network device %s: use that", name, canonical)
	}
	return describe(l)
}

// ByIndex finds a device by its index.
func ByIndex(index int) (Device, error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return Device{}, lookupError(fmt.Sprintf("with index %d", index), err)
	}
	return describe(l)
}

func lookupError(name string, err error) error {
	var missing netlink.LinkNotFoundError
	// A name that no device may have, such as one over 15 bytes, is EINVAL or
	// ERANGE.
	if errors.As(err, &missing) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) {
		return &NotFoundError{name}
	}
	return fmt.Errorf("find network device %s: %w", name, err)
}

func describe(l netlink.Link) (Device, error) {
	namespace, err := Namespace()
	if err != nil {
		return Device{}, err
	}
	return Device{Name: l.Attrs().Name, Index: l.Attrs().Index, Kind: l.Type(), Namespace: namespace, Bridge: l.Attrs().MasterIndex}, nil
}

// IsMacvtap tells whether the guest sits behind a character device on top of
// the device: then what the guest sends is what the device transmits, while on
// a tap or veth it is what the device receives.
func (d Device) IsMacvtap() bool { return d.Kind == "macvtap" || d.Kind == "ipvtap" }

// Namespace is the cookie of the thread's network namespace.
func Namespace() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace (needs Linux 5.14): %w", err)
	}
	return cookie, nil
}
