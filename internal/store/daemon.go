package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// daemonLock is the file that a daemon holds an flock on as long as the state
// directory is in its hands. It says which daemon that is. The file stays: to remove
// it would let two hold one each.
const daemonLock = "daemon.lock"

// holder is what the file says.
type holder struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"`
}

// Daemon tells whether a daemon has the state directory, which process that is, and
// where it listens. Changes are its business then: it would not hear of others.
func Daemon(dir string) (pid int, socket string, running bool, err error) {
	file, err := os.Open(filepath.Join(dir, daemonLock))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", false, nil
	}
	if err != nil {
		return 0, "", false, explain("read", filepath.Join(dir, daemonLock), err)
	}
	defer file.Close()
	switch err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case err == nil:
		return 0, "", false, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return 0, "", false, explain("lock", file.Name(), err)
	}
	h := readHolder(file)
	return h.PID, h.Socket, true, nil
}

// readHolder gives the zero holder if the file says nothing yet.
func readHolder(file *os.File) (h holder) {
	text := make([]byte, 4096)
	n, _ := file.ReadAt(text, 0)
	if json.Unmarshal(text[:n], &h) != nil {
		return holder{}
	}
	return h
}

// claimFor is how long is waited for others that only look whether a daemon has the
// directory, for which they need the lock too.
const claimFor = time.Second

// ClaimDaemon takes the state directory for this process until release is called or
// the process ends. The error names the process that has it. A directory that is
// there can be taken on a full or read-only disk, too; the next one may then be told
// of a wrong process.
func ClaimDaemon(dir, socket string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explain("make the state directory", dir, err)
	}
	path := filepath.Join(dir, daemonLock)
	// Not held open for writing: it would keep the disk from being made read-only.
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explain("write", path, err)
	}
	for start := time.Now(); ; time.Sleep(claimFor / 50) {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Since(start) > claimFor {
			break
		}
	}
	if err != nil {
		defer file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, taken(dir, readHolder(file))
		}
		return nil, explain("lock", path, err)
	}
	text, err := json.Marshal(holder{os.Getpid(), socket})
	if err != nil {
		panic("store: " + err.Error()) // numbers and strings always encode
	}
	_ = os.WriteFile(path, append(text, '\n'), 0o600)
	return func() {
		_ = os.WriteFile(path, nil, 0o600)
		file.Close()
	}, nil
}

func taken(dir string, by holder) error {
	if by.PID == 0 {
		return fmt.Errorf("another daemon has the state directory %s", dir)
	}
	return fmt.Errorf("the state directory %s belongs to the daemon with process id %d, which listens at %s", dir, by.PID, by.Socket)
}
