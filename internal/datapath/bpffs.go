package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const bpffsRoot = "/sys/fs/bpf"

// findBPFFS gives the path by which dir is reached on a bpffs that outlives
// the process, and mounts one if dir is to be at its usual place.
func findBPFFS(dir string) (string, error) {
	at := dir
	for !exists(at) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	switch on, err := isBPFFS(at); {
	case err != nil:
		return "", fmt.Errorf("look at %s: %w", at, needsRoot(err))
	case on:
		return dir, nil
	case dir != bpffsRoot && !strings.HasPrefix(dir, bpffsRoot+"/"):
		return "", fmt.Errorf("%s is on no bpffs: mount one there with \"mount -t bpf bpf %s\"", dir, at)
	}
	if outer := outerProcess(); outer != 0 {
		return fmt.Sprintf("/proc/%d/root%s", outer, dir), inMountsOf(outer, mountBPFFS)
	}
	return dir, mountBPFFS()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func isBPFFS(path string) (bool, error) {
	var stat unix.Statfs_t
	err := unix.Statfs(path, &stat)
	return err == nil && uint32(stat.Type) == unix.BPF_FS_MAGIC, err
}

// mountBPFFS mounts one at its usual place unless it is there. It does so under
// a lock on the directory beneath: a second mount on top would hide what was
// pinned in the first.
func mountBPFFS() error {
	l, err := os.Open(bpffsRoot)
	if err != nil {
		return fmt.Errorf("mount a bpffs at %s: %w", bpffsRoot, needsRoot(err))
	}
	defer l.Close()
	if err := unix.Flock(int(l.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", bpffsRoot, err)
	}
	if on, err := isBPFFS(bpffsRoot); err == nil && on {
		return nil
	}
	err = unix.Mount("bpf", bpffsRoot, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
	if errors.Is(err, unix.ENODEV) {
		return errors.New("the kernel has no bpffs (CONFIG_BPF_SYSCALL)")
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("nothing is mounted at %s, and mounting a bpffs there needs root (CAP_SYS_ADMIN)", bpffsRoot)
	}
	if err != nil {
		return fmt.Errorf("mount a bpffs at %s: %w", bpffsRoot, err)
	}
	return nil
}

// escapeName makes a file name of a device's name: bpffs reserves names with a
// dot (bpf_lookup in kernel/bpf/inode.c). Device names have no slash.
func escapeName(name string) string {
	return strings.NewReplacer("%", "%25", ".", "%2e").Replace(name)
}

// isPortName tells whether a device may have the name, so that it names one
// directory.
func isPortName(name string) bool { return name != "" && !strings.Contains(name, "/") }

func unescapeName(name string) string {
	return strings.NewReplacer("%25", "%", "%2e", ".").Replace(name)
}

// dirLock is an flock on a directory, which ends with the process.
type dirLock struct{ dir *os.File }

func (l *dirLock) unlock() { l.dir.Close() }

// lockDir waits for the lock of a directory; fs.ErrNotExist if it is gone by
// the time that the lock is free.
func lockDir(ctx context.Context, path string, how int) (*dirLock, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, needsRoot(err)
	}
	result := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(int(dir.Fd()), how)
			if !errors.Is(err, unix.EINTR) {
				result <- err
				return
			}
		}
	}()
	select {
	case err = <-result:
	case <-ctx.Done():
		go func() {
			<-result
			dir.Close()
		}()
		return nil, fmt.Errorf("wait for the lock of %s: %w", path, ctx.Err())
	}
	if err == nil {
		err = sameDir(dir, path)
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &dirLock{dir}, nil
}

// sameDir fails with fs.ErrNotExist unless path is still the open directory.
func sameDir(dir *os.File, path string) error {
	locked, err := dir.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(locked, there) {
		return fs.ErrNotExist
	}
	return nil
}
