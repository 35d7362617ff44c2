package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// DefaultDir is where everything is pinned.
const DefaultDir = "/sys/fs/bpf/tapgate"

// Mechanism is the way in which programs are attached to a device.
type Mechanism string

// The mechanisms.
const (
	// Automatic takes tcx where the kernel has it.
	Automatic Mechanism = ""
	// TCX needs Linux 6.6.
	TCX Mechanism = "tcx"
	// Clsact is a cls_bpf filter with direct action.
	Clsact Mechanism = "clsact"
)

// Options say how a host is opened. The zero value is fit for use.
type Options struct {
	// Dir is a directory on a bpffs, DefaultDir if empty.
	Dir string
	// Mechanism for ports that are guarded from now on.
	Mechanism Mechanism
}

// Host is what is pinned on this host's bpffs. Nothing of it lives in the
// process but what saves time: every call looks at what is there, and several processes may work on
// one host at once. Devices are looked for in the network namespace of the
// calling thread.
//
//	DIR/next_port            the number of the next port
//	DIR/observations         frames that may teach guests' addresses
//	DIR/memories             what is remembered of ports, by number
//	DIR/state_HASH/…         maps that all ports share, of one layout
//	DIR/skeleton_HASH/…      the programs that all ports share, of one version
//	DIR/ports/NAME/link_in   bpf links, only with tcx
//	DIR/ports/NAME/link_out
//	DIR/ports/NAME/3/…       a generation: programs, maps and their description
//
// Whoever changes a port holds an flock on its directory; whoever adds or
// removes shared state, on DIR. A port's lock is taken before DIR's.
type Host struct {
	dir       string
	mechanism Mechanism

	generations generations

	mu       sync.Mutex
	open     map[string]*common // by name; what is kept open to save time
	injector *ebpf.Program

	// observers counts calls of Observe, which keep the ring.
	observers atomic.Int32
}

// ErrNeedsRoot is what a call fails with that lacks the rights.
var ErrNeedsRoot = errors.New("needs root (CAP_BPF and CAP_NET_ADMIN)")

// Open finds or makes the directory, and mounts a bpffs at /sys/fs/bpf if the
// directory is to be there and nothing is mounted.
func Open(opts Options) (*Host, error) {
	dir, err := findBPFFS(cmp.Or(opts.Dir, DefaultDir))
	if err != nil {
		return nil, err
	}
	raiseFileLimit()
	h := &Host{dir: dir, mechanism: opts.Mechanism}
	if err := os.MkdirAll(filepath.Join(h.dir, "ports"), 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", h.dir, needsRoot(err))
	}
	return h, nil
}

// manyFiles is room for more ports that are prepared at once than a host has.
const manyFiles = 1 << 16

// raiseFileLimit lets the process have so many open files, as far as it may: a
// change of many ports fails as a whole where it cannot hold them all.
func raiseFileLimit() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= manyFiles {
		return
	}
	// Only root may have more than its hard limit (CAP_SYS_RESOURCE).
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: manyFiles, Max: max(limit.Max, manyFiles)}) != nil {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(limit.Max, manyFiles), Max: limit.Max})
	}
}

// Close closes what is kept open to save time. The host may be used again.
func (h *Host) Close() {
	h.mu.Lock()
	names := slices.Collect(maps.Keys(h.open))
	h.injector.Close()
	h.injector = nil
	h.mu.Unlock()
	for _, name := range names {
		h.closeCommon(name)
	}
}

func (h *Host) portDir(port string) string {
	return filepath.Join(h.dir, "ports", escapeName(port))
}

// lock takes the lock that protects shared state.
func (h *Host) lock(ctx context.Context) (*dirLock, error) {
	return lockDir(ctx, h.dir, unix.LOCK_EX)
}

// lockPort makes the port's directory and takes its lock.
func (h *Host) lockPort(ctx context.Context, port string) (*dirLock, error) {
	dir := h.portDir(port)
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make %s: %w", dir, needsRoot(err))
		}
		l, err := lockDir(ctx, dir, unix.LOCK_EX)
		if !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
}

// portError says what failed; missing rights say all by themselves.
func portError(verb, port string, err error) error {
	if errors.Is(err, ErrNeedsRoot) {
		err = ErrNeedsRoot
	}
	return fmt.Errorf("%s %s: %w", verb, port, err)
}

// needsRoot turns the kernel's refusal into ErrNeedsRoot, unless the process
// has every right.
func needsRoot(err error) error {
	if (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)) && !hasRights() {
		return ErrNeedsRoot
	}
	return err
}

// hasRights tells whether the process has the capabilities in ErrNeedsRoot.
func hasRights() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, capability := range []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN} {
		if data[capability/32].Effective&(1<<(capability%32)) == 0 {
			return false
		}
	}
	return true
}
