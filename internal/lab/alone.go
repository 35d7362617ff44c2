package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NewNamespace makes a network namespace without a network around it: only its loopback device runs.
// Without the rights it fails with ErrNeedsRoot. Close ends it.
func NewNamespace(name string) (*Namespace, error) { return newNamespace(name) }

// Close ends everything that was opened in the namespace, and the namespace itself.
func (ns *Namespace) Close() { ns.close() }

// FD is the namespace's file descriptor, open until the namespace is closed.
func (ns *Namespace) FD() int { return int(ns.fd) }

// SetSysctl writes a value below /proc/sys/net of the namespace.
func (ns *Namespace) SetSysctl(path, value string) error {
	if err := ns.setSysctl(path, value); err != nil {
		return fmt.Errorf("set net/%s in namespace %s: %w", path, ns.name, err)
	}
	return nil
}

// Tun is a device without a link layer, whose other end is the caller.
type Tun struct {
	Name string
	ns   *Namespace
	file *os.File
}

// AddTun adds such a device and sets it up. It is removed by Close.
func (ns *Namespace) AddTun(name string) (*Tun, error) {
	tun := &Tun{Name: name, ns: ns}
	err := ns.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		tun.file = os.NewFile(uintptr(fd), "/dev/net/tun")
		return nil
	})
	if err == nil {
		ns.resources.add(tun)
		err = ns.setUp(name)
	}
	if err != nil {
		return nil, fmt.Errorf("add tun device %s: %w", name, err)
	}
	return tun, nil
}

// Send makes the namespace receive an IP packet. It has been through the network stack when Send
// returns.
func (t *Tun) Send(packet []byte) error {
	_, err := t.file.Write(packet)
	return err
}

// Close removes the device.
func (t *Tun) Close() error {
	t.ns.resources.remove(t)
	return t.file.Close()
}
