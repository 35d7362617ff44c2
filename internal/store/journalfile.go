package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	journalName = "journal"
	// formerName is the journal before this one.
	formerName = "journal.1"
)

// Append adds lines to DIR/journal. One that has JournalSize bytes becomes
// DIR/journal.1 first, in the place of the one before.
func (f *Files) Append(lines []byte) error {
	path := filepath.Join(f.dir, journalName)
	if info, err := os.Stat(path); err == nil && info.Size() >= JournalSize {
		if err := os.Rename(path, filepath.Join(f.dir, formerName)); err != nil {
			return explain("write", path, err)
		}
	}
	file, end, err := f.openJournal()
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(lines)
	if err := errors.Join(err, file.Sync()); err != nil {
		// A full disk may have taken a part: without this it would be cut off and
		// set aside the next time.
		_ = file.Truncate(end)
		return explain("write", path, err)
	}
	if end == 0 {
		return syncDir(f.dir)
	}
	return nil
}

// openJournal opens the journal for writing, and tells where its next line
// begins. A last line that a crash of the host left without its end is cut off
// and set aside; so is a file without lines, whole.
func (f *Files) openJournal() (file *os.File, end int64, err error) {
	path := filepath.Join(f.dir, journalName)
	if file, err = os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return nil, 0, explain("write", path, err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, explain("read", path, err)
	}
	tail, err := readEnd(file, size)
	if err != nil {
		return nil, 0, explain("read", path, err)
	}
	torn := tail[bytes.LastIndexByte(tail, '\n')+1:]
	end = size - int64(len(torn))
	switch {
	case len(torn) == 0:
		return file, end, nil
	case len(torn) == longestLine:
		if _, err := f.moveAside(journalName); err != nil {
			return nil, 0, err
		}
		file.Close()
		return f.openJournal()
	}
	place, err := f.placeAside(journalName)
	if err != nil {
		return nil, 0, err
	}
	if err := os.WriteFile(place, torn, 0o600); err != nil {
		os.Remove(place)
		return nil, 0, explain("write", place, err)
	}
	if err := file.Truncate(end); err != nil {
		return nil, 0, explain("repair", path, err)
	}
	return file, end, nil
}

// longestLine is more than any line has, in bytes.
const longestLine = 64 << 10

// readEnd reads what holds the last line.
func readEnd(file io.ReaderAt, size int64) ([]byte, error) {
	tail := make([]byte, min(size, longestLine))
	_, err := file.ReadAt(tail, size-int64(len(tail)))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return tail, err
}

// Journal reads both files from behind.
func (f *Files) Journal(most int64) ([]byte, error) {
	text, whole, err := f.lastLines(journalName, most)
	if err != nil || !whole {
		return text, err
	}
	former, _, err := f.lastLines(formerName, most-int64(len(text)))
	return append(former, text...), err
}

// lastLines are the last whole lines of a file, and whether that is all of it.
func (f *Files) lastLines(name string, most int64) (text []byte, whole bool, err error) {
	path := filepath.Join(f.dir, name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, explain("read", path, err)
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, false, explain("read", path, err)
	}
	from := max(0, size-most)
	text = make([]byte, size-from)
	if _, err := file.ReadAt(text, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, explain("read", path, err)
	}
	if from > 0 {
		// A line may begin just here, and is left out nevertheless.
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return text, from == 0, nil
}
