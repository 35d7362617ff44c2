package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"tapgate/client"
)

// Group are the users who may ask the daemon, beside root.
const Group = "tapgate"

// Listen listens at a path, for root and for the members of Group if there is such a
// group. It makes the directory if it is missing, and takes the place of a socket at
// which nobody listens any more. There is no moment at which anybody else could
// connect.
func Listen(path string) (net.Listener, error) {
	gid := -1
	if g, err := user.LookupGroup(Group); err == nil {
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return nil, fmt.Errorf("listen at %s: the group %s has the id %q, which is no number", path, Group, g.Gid)
		}
	}
	return listen(path, gid, filepath.Dir(path) == filepath.Dir(client.DefaultSocket))
}

// listen listens for a group, or without one for -1. The directory is given to the
// group if it is own, or new.
func listen(path string, gid int, own bool) (net.Listener, error) {
	l, err := listenFor(path, gid, own)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, plain(err))
	}
	return l, nil
}

func listenFor(path string, gid int, own bool) (net.Listener, error) {
	// The kernel takes no longer path (unix(7)).
	if most := len(unix.RawSockaddrUnix{}.Path) - 1; len(path) > most {
		return nil, fmt.Errorf("the path has %d bytes, and that of a socket can have %d", len(path), most)
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir, gid, own); err != nil {
		return nil, err
	}
	// Of two that begin at once, one must not remove the other's new socket.
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// A socket's file gets the mode of the socket (unix_bind in net/unix/af_unix.c):
	// it is nobody's but its owner's from the beginning, whatever the umask, which
	// all threads share.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, controlErr)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := share(path, gid, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// makeDir makes a directory that only the group can enter. One that is there, and not
// our own, stays as it is.
func makeDir(dir string, gid int, own bool) error {
	err := os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist) && !own:
		return nil
	case err != nil && !errors.Is(err, fs.ErrExist):
		return err
	}
	if gid < 0 {
		return nil
	}
	return share(dir, gid, 0o750)
}

// share gives a file to the group first, and rights to the group then.
func share(path string, gid int, mode fs.FileMode) error {
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			return fmt.Errorf("the group %s cannot be given %s: %w", Group, path, plain(err))
		}
	}
	return os.Chmod(path, mode)
}

// removeStale removes a socket at which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else than a socket is there; remove it, or choose another path")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return errors.New("another process listens there")
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// plain leaves out the names of calls and repeated paths.
func plain(err error) error {
	var file *fs.PathError
	var socket *net.OpError
	switch {
	case errors.As(err, &file):
		return plain(file.Err)
	case errors.As(err, &socket):
		return plain(socket.Err)
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}
