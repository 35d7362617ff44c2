package datapath

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// outerProcess is the first of the processes that led to this one, if it has
// other mounts; else 0. "ip netns exec" gives each command mounts of its own,
// with a new /sys and no bpffs: one that were mounted there would vanish with
// the command, and all its pins with it. Processes that may not be looked into
// are passed over.
func outerProcess() int {
	own, err := os.Readlink("/proc/thread-self/ns/mnt")
	if err != nil {
		return 0
	}
	outer := 0
	for pid := os.Getppid(); pid > 0; pid = parent(pid) {
		mounts, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil {
			continue
		}
		if outer = pid; mounts == own {
			outer = 0
		}
	}
	return outer
}

// parent reads it from /proc/PID/stat, where it is the second word behind the
// name in parentheses (proc_pid_stat(5)); 0 if there is none.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	words := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(words) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(words[1]))
	return ppid
}

// inMountsOf calls fn with the mounts of a process.
func inMountsOf(pid int, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		// The thread is not fit for anything else, and ends with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
			if err != nil {
				return needsRoot(err)
			}
			defer ns.Close()
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("leave the mount namespace: %w", needsRoot(err))
			}
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("enter the mount namespace of process %d: %w", pid, needsRoot(err))
			}
			return fn()
		}()
	}()
	return <-result
}
