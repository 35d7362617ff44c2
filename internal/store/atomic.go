package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// asideDir holds what cannot be read, as DIR/aside/TIME/KIND/NAME.xml. Nothing
// in it is ever read or removed again.
const asideDir = "aside"

// Write makes a new file beside the old one and renames it.
func (f *Files) Write(kind Kind, name string, text []byte) error {
	d, err := f.Prepare(kind, name, text)
	if err != nil {
		return err
	}
	defer d.Discard()
	return d.Commit()
}

// fileDraft is a file that is wholly on disk under a name that nobody reads.
// What a crash leaves of it is cleared away by the next who changes something.
type fileDraft struct {
	temp, path string
	committed  bool
}

// Prepare writes the new file.
func (f *Files) Prepare(kind Kind, name string, text []byte) (Draft, error) {
	if err := checkName(kind, name); err != nil {
		return nil, err
	}
	path := f.Place(kind, name)
	temp, err := os.CreateTemp(filepath.Dir(path), tempPrefix)
	if err != nil {
		return nil, explain("write", path, err)
	}
	_, err = temp.Write(text)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		os.Remove(temp.Name())
		return nil, explain("write", path, err)
	}
	return &fileDraft{temp: temp.Name(), path: path}, nil
}

// Commit renames the file.
func (d *fileDraft) Commit() error {
	if err := os.Rename(d.temp, d.path); err != nil {
		return explain("write", d.path, err)
	}
	d.committed = true
	return syncDir(filepath.Dir(d.path))
}

// Discard removes the file.
func (d *fileDraft) Discard() {
	if !d.committed {
		os.Remove(d.temp)
	}
}

// SetAside moves a file.
func (f *Files) SetAside(kind Kind, name string) (string, error) {
	if checkName(kind, name) != nil {
		return "", fs.ErrNotExist
	}
	return f.moveAside(filepath.Join(string(kind), name+kind.ending()))
}

// moveAside moves a file whose path is below the state directory.
func (f *Files) moveAside(path string) (string, error) {
	from := filepath.Join(f.dir, path)
	to, err := f.placeAside(path)
	if err != nil {
		return "", err
	}
	if err := os.Rename(from, to); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fs.ErrNotExist
		}
		return "", explain("set aside", from, err)
	}
	return to, errors.Join(syncDir(filepath.Dir(to)), syncDir(filepath.Dir(from)))
}

// placeAside makes room for a file of that path: in the first folder of this
// second that has none of that name.
func (f *Files) placeAside(path string) (string, error) {
	second := time.Now().UTC().Format("20060102T150405Z")
	for n := 1; ; n++ {
		folder := second
		if n > 1 {
			folder = fmt.Sprintf("%s-%d", second, n)
		}
		to := filepath.Join(f.dir, asideDir, folder, path)
		switch _, err := os.Lstat(to); {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return "", explain("set aside", path, err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", explain("make", filepath.Dir(to), err)
		}
		for dir := filepath.Dir(filepath.Dir(to)); len(dir) >= len(f.dir); dir = filepath.Dir(dir) {
			if err := syncDir(dir); err != nil {
				return "", err
			}
		}
		return to, nil
	}
}

// syncDir makes what was made, renamed or removed in a directory survive a
// crash of the host.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return explain("write", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return explain("write", path, err)
	}
	return nil
}
