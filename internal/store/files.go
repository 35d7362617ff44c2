package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tapgate/nwfilter"
)

const (
	lockName   = "lock"
	tempPrefix = ".new-"
)

// ending is that of the files of a kind.
func (k Kind) ending() string {
	switch k {
	case SettingsKind:
		return ".conf"
	case LeaseKind:
		return ".json"
	}
	return ".xml"
}

// Files keeps documents as DIR/KIND/NAME.xml, settings as DIR/settings/host.conf,
// leases as DIR/leases/KEY.json, and the journal beside them. Nothing is made before
// the first write, so that a reader needs no rights beyond reading.
type Files struct{ dir string }

var _ Backend = (*Files)(nil)

// NewFiles keeps documents in a directory, which need not exist.
func NewFiles(dir string) *Files { return &Files{dir} }

// Place is the document's path.
func (f *Files) Place(kind Kind, name string) string {
	return filepath.Join(f.dir, string(kind), name+kind.ending())
}

// Lock holds an flock on DIR/lock, which ends with the process.
func (f *Files) Lock(ctx context.Context, exclusive bool) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !exclusive {
		file, err := os.Open(filepath.Join(f.dir, lockName))
		if errors.Is(err, fs.ErrNotExist) {
			return func() {}, nil // nothing was ever written
		}
		if err != nil {
			return nil, explain("read the state directory", f.dir, err)
		}
		return flock(ctx, file, unix.LOCK_SH)
	}
	for _, kind := range kinds {
		if err := os.MkdirAll(filepath.Join(f.dir, string(kind)), 0o700); err != nil {
			return nil, explain("make the state directory", f.dir, err)
		}
	}
	file, err := os.OpenFile(filepath.Join(f.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explain("write to the state directory", f.dir, err)
	}
	unlock, err := flock(ctx, file, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	if err := f.removeLeftovers(); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// flock waits in a thread of its own: the call cannot be interrupted.
func flock(ctx context.Context, file *os.File, how int) (func(), error) {
	result := make(chan error, 1)
	go func() {
		for {
			if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
				result <- err
				return
			}
		}
	}()
	select {
	case err := <-result:
		if err != nil {
			file.Close()
			return nil, explain("lock", file.Name(), err)
		}
		return func() { file.Close() }, nil
	case <-ctx.Done():
		go func() {
			<-result
			file.Close()
		}()
		return nil, fmt.Errorf("gave up waiting for the lock %s", file.Name())
	}
}

// removeLeftovers clears away what a crash left half written.
func (f *Files) removeLeftovers() error {
	for _, kind := range kinds {
		dir := filepath.Join(f.dir, string(kind))
		entries, err := os.ReadDir(dir)
		if err != nil {
			return explain("read", dir, err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), tempPrefix) || strings.HasSuffix(e.Name(), kind.ending()) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return explain("remove", filepath.Join(dir, e.Name()), err)
			}
		}
	}
	return nil
}

// Names lists the files of a kind.
func (f *Files) Names(kind Kind) ([]string, error) {
	dir := filepath.Join(f.dir, string(kind))
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, explain("read", dir, err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), kind.ending()); ok && name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// longest is the longest file that is read whole: a document and its note. Of a
// longer one so much is read that its reader sees that it is too long.
const longest = nwfilter.MaxDocument + 64<<10

// Read reads a file.
func (f *Files) Read(kind Kind, name string) ([]byte, error) {
	if checkName(kind, name) != nil {
		return nil, fs.ErrNotExist
	}
	path := f.Place(kind, name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, explain("read", path, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longest+1))
	if err != nil {
		return nil, explain("read", path, err)
	}
	return text, nil
}

// Remove removes a file.
func (f *Files) Remove(kind Kind, name string) error {
	if checkName(kind, name) != nil {
		return fs.ErrNotExist
	}
	path := f.Place(kind, name)
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.ErrNotExist
		}
		return explain("remove", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// explained is a sentence about an error of the system, which it still is.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explain says what could not be done, and why, without the names of calls.
func explain(doing, path string, err error) error {
	why := err.Error()
	var errno unix.Errno
	switch {
	case errors.Is(err, fs.ErrPermission):
		why = "permission denied; run as root, or choose another directory with --state-dir"
	case errors.Is(err, unix.EROFS):
		why = "the file system is read-only; make it writable, or choose another directory with --state-dir"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		why = "there is no space left; make room and try again"
	case errors.As(err, &errno):
		why = errno.Error()
	}
	return &explained{fmt.Sprintf("cannot %s %s: %s", doing, path, why), err}
}
