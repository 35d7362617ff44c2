package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrNeedsRoot is returned by New to a process that may not make network namespaces.
var ErrNeedsRoot = errors.New("needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN) to make network namespaces")

// errClosed is what using a namespace after its end gives.
var errClosed = errors.New("the namespace is closed")

// Namespace is a network namespace without a name, kept alive by a file descriptor.
type Namespace struct {
	name string
	// links speaks rtnetlink inside the namespace, from any thread.
	links *netlink.Handle

	// mu keeps the descriptor open while a thread enters.
	mu     sync.RWMutex
	fd     netns.NsHandle
	closed bool

	// resources are closed before the namespace is.
	resources resources
	// dataPorts hands out the ports that FTP clients listen on.
	dataPorts portSequence
}

// newNamespace makes an empty namespace with a running loopback device.
func newNamespace(name string) (*Namespace, error) {
	ns := &Namespace{name: name, fd: netns.None()}
	err := onThread(func() error {
		fd, err := netns.New()
		ns.fd = fd
		return err
	})
	if errors.Is(err, unix.EPERM) {
		return nil, ErrNeedsRoot
	}
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if ns.links, err = netlink.NewHandleAt(ns.fd, unix.NETLINK_ROUTE); err != nil {
		ns.close()
		return nil, fmt.Errorf("open netlink in namespace %s: %w", name, err)
	}
	if err := ns.setUp("lo"); err != nil {
		ns.close()
		return nil, err
	}
	return ns, nil
}

// Name is what the namespace is called in messages.
func (ns *Namespace) Name() string { return ns.name }

// Links is a netlink handle inside the namespace, usable from everywhere.
func (ns *Namespace) Links() *netlink.Handle { return ns.links }

// Do runs fn on a thread that is in the namespace. Sockets and files opened by fn stay in the
// namespace and can be used everywhere afterwards. Goroutines that fn starts are not in it.
func (ns *Namespace) Do(fn func() error) error {
	return onThread(func() error {
		if err := ns.enter(); err != nil {
			return fmt.Errorf("enter namespace %s: %w", ns.name, err)
		}
		return fn()
	})
}

// enter moves the calling thread; from then on the thread itself keeps the namespace alive.
func (ns *Namespace) enter() error {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if ns.closed {
		return errClosed
	}
	return netns.Set(ns.fd)
}

// setSysctl writes a value below /proc/sys/net. Which namespace that is about is decided by the
// writing thread.
func (ns *Namespace) setSysctl(path, value string) error {
	return ns.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net", path), []byte(value), 0)
	})
}

// close ends everything that was opened in the namespace and lets go of it.
func (ns *Namespace) close() {
	ns.resources.closeAll()
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.closed {
		return
	}
	ns.closed = true
	if ns.links != nil {
		ns.links.Close()
	}
	ns.fd.Close()
}

// onThread runs fn on a thread of its own, whose namespace fn may change. The thread goes back to
// the Go scheduler only if it could be put back where it was: a goroutine that ends while it is
// locked takes its thread along.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// Stands if fn leaves by runtime.Goexit, as t.FailNow does.
		err := errors.New("left before its end")
		defer func() { result <- err }()

		before, openErr := netns.Get()
		if openErr != nil {
			err = fmt.Errorf("open the namespace of the thread: %w", openErr)
			return
		}
		defer func() {
			if netns.Set(before) == nil {
				runtime.UnlockOSThread()
			}
			before.Close()
		}()
		err = fn()
	}()
	return <-result
}
