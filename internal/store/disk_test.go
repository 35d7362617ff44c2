package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/learn"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// withOwnMounts runs fn where what it mounts is its own, and ends with it.
func withOwnMounts(t *testing.T, fn func()) {
	t.Helper()
	err := lab.WithOwnMounts(func() error {
		fn()
		return nil
	})
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
}

func (k kept) mount(source, kind string, flags uintptr, options string) {
	k.Helper()
	if err := unix.Mount(source, k.dir, kind, flags, options); err != nil {
		k.Error(err)
		runtime.Goexit()
	}
}

// documents are all texts that count, by path.
func (k kept) documents() map[string]string {
	k.Helper()
	found := map[string]string{}
	for _, kind := range []Kind{FilterKind, BindingKind, SettingsKind, LeaseKind} {
		files, err := os.ReadDir(filepath.Join(k.dir, string(kind)))
		if err != nil {
			k.Error(err)
		}
		for _, f := range files {
			if !strings.HasPrefix(f.Name(), tempPrefix) {
				found[string(kind)+"/"+f.Name()] = read(k.T, filepath.Join(k.dir, string(kind), f.Name()))
			}
		}
	}
	return found
}

// attempts are changes of everything, each of which tells how often a port was
// touched.
func attempts() map[string]func(u *Update, touched *int) error {
	large, _ := ParseFilter([]byte(doc("a", "<!--"+strings.Repeat("x", 10_000)+"-->"+ref("b"))), "", false)
	fresh, _ := ParseFilter([]byte(doc("fresh", "")), "", false)
	b := &binding.Binding{Port: "vnet0", MAC: []byte{0x52, 0x54, 0, 0, 0, 2}, Filter: "fresh",
		Parameters: []nwfilter.Parameter{{Name: "X", Value: strings.Repeat("y", 5000)}}}
	return map[string]func(u *Update, touched *int) error{
		"define": func(u *Update, _ *int) error { _, err := u.Define(large, nil); return err },
		"set": func(u *Update, _ *int) error {
			return u.Set(settings.Given{"CTRL_TIMEOUT_UDP": {"60"}}, nil)
		},
		"undefine": func(u *Update, _ *int) error { return u.Undefine("unused", false, nil) },
		"rollback": func(u *Update, _ *int) error {
			f, _, err := u.Revision("a", "")
			if err == nil {
				_, err = u.Rollback(f, nil)
			}
			return err
		},
		"bind": func(u *Update, touched *int) error {
			_, err := u.Bind(b, fresh, func() error { *touched++; return nil })
			return err
		},
		"unbind": func(u *Update, touched *int) error {
			return u.Unbind("vnet0", func(bool) error { *touched++; return nil })
		},
		"change leases": func(u *Update, touched *int) error {
			l := lease("10.0.0.6", learn.Operator, 0)
			return u.ChangeLeases(LeaseEdit{AddLeaseOp, "vnet0", l.Address}, "key", []learn.Lease{l}, func() error { *touched++; return nil })
		},
		"keep leases": func(u *Update, _ *int) error {
			return u.KeepLeases("key", []learn.Lease{lease("10.0.0.6", learn.DHCP, time.Hour)})
		},
		"set aside": func(u *Update, _ *int) error {
			_, err := u.Filter("broken")
			fault, why, failed := strings.Cut(err.Error(), "\nit could not be set aside: ")
			if !strings.Contains(fault, `the stored filter "broken" cannot be read: `) {
				return err
			}
			if failed {
				return errors.New(why)
			}
			return nil
		},
	}
}

// prepare makes a state with something of everything.
func (k kept) prepare() {
	k.Helper()
	k.define(doc("a", ""), "")
	k.define(doc("a", ref("clean-traffic")), "")
	k.define(doc("unused", ""), "")
	k.bind("vnet0", "a")
	k.keep("key", lease("10.0.0.5", learn.DHCP, time.Hour))
}

// fillPage makes the journal end so many bytes before the end of a page.
func (k kept) fillPage(room int) {
	k.Helper()
	path := filepath.Join(k.dir, journalName)
	text := read(k.T, path)
	e := ended{Form: journalForm, ID: 1, Result: Done} // of a change that has ended
	page := os.Getpagesize()
	length := 2*page - len(text)%page - room
	e.Detail = strings.Repeat(".", length-len(encodeLine(e))-len(`,"detail":""`))
	k.put(path, text+string(encodeLine(e)))
}

func TestFullDisk(t *testing.T) {
	withOwnMounts(t, func() {
		for name, attempt := range attempts() {
			failures, successes := 0, 0
			run := func(space string, fill func(kept) (undo func())) {
				if runOnFullDisk(t, name+" with "+space, attempt, fill) {
					successes++
				} else {
					failures++
				}
			}
			for _, free := range []int{0, 1, 2, 3, 5, 8} {
				for _, room := range []int{0, 200, 600, 4000} {
					run(fmt.Sprintf("%d pages and %d bytes", free, room), func(k kept) func() {
						k.fillPage(room)
						return k.fill(free)
					})
				}
				run(fmt.Sprintf("%d inodes", free), func(k kept) func() { return k.fillInodes(free) })
			}
			t.Logf("%s failed %d times and succeeded %d times", name, failures, successes)
			if failures == 0 || successes == 0 {
				t.Errorf("%s failed %d times and succeeded %d times: both must be seen", name, failures, successes)
			}
		}
	})
}

// runOnFullDisk tells whether an attempt succeeds where fill left only so much
// space.
func runOnFullDisk(t *testing.T, name string, attempt func(*Update, *int) error, fill func(kept) (undo func())) bool {
	k := newStore(t)
	if err := os.Mkdir(k.dir, 0o700); err != nil {
		t.Error(err)
	}
	k.mount("tmpfs", "tmpfs", 0, "size=512k,nr_inodes=100,mode=700")
	k.prepare()
	if strings.HasPrefix(name, "set aside") {
		k.put(k.path(FilterKind, "broken"), "<filter")
	}
	before := k.documents()
	undo := fill(k)
	touched := 0
	err := k.update(func(u *Update) error { return attempt(u, &touched) })
	after := k.documents()
	switch {
	case err == nil && maps.Equal(before, after):
		t.Errorf("%s says that it succeeded", name)
	case err != nil && (!strings.Contains(err.Error(), "there is no space left; make room and try again") || strings.Contains(err.Error(), "\n")):
		t.Errorf("%s says %q", name, err)
	case err != nil && (!maps.Equal(before, after) || touched > 0):
		t.Errorf("%s failed, but changed something (%d ports): %s", name, touched, cmp.Diff(before, after))
	}
	undo()
	k.define(doc("next", ""), "") // with room again all goes on
	list := k.history()
	recorded := list[4 : len(list)-1]
	if strings.HasPrefix(name, "keep leases") {
		if len(recorded) > 0 {
			t.Errorf("%s is in the journal: %q", name, recorded)
		}
		return k.end(err)
	}
	done := len(recorded) > 0 && !slices.ContainsFunc(recorded, func(e string) bool { return !strings.Contains(e, ", done") })
	if done != (err == nil) {
		t.Errorf("%s ended with %v, and the journal says %.1000q", name, err, recorded)
	}
	if text, ok := before["filters/broken.xml"]; ok && after["filters/broken.xml"] != text && k.asideTexts()["filters/broken.xml"] != text {
		t.Errorf("%s lost a text", name)
	}
	return k.end(err)
}

// end takes the disk away, and tells whether there was no error.
func (k kept) end(err error) bool {
	k.Helper()
	k.expect(unix.Unmount(k.dir, 0), "")
	return err == nil
}

// fill leaves so many pages free.
func (k kept) fill(pages int) (undo func()) {
	k.Helper()
	filler := filepath.Join(k.dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		k.Error(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, os.Getpagesize()))
	}
	if !errors.Is(err, unix.ENOSPC) {
		k.Error(err)
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(info.Size() - int64(pages*os.Getpagesize()))
	}
	if err != nil {
		k.Error(err)
	}
	return func() { k.expect(os.Remove(filler), "") }
}

// fillInodes leaves so many files to be made.
func (k kept) fillInodes(free int) (undo func()) {
	k.Helper()
	filler := filepath.Join(k.dir, "filler")
	err := os.Mkdir(filler, 0o700)
	n := 0
	for ; err == nil; n++ {
		err = os.WriteFile(filepath.Join(filler, strconv.Itoa(n)), nil, 0o600)
	}
	if !errors.Is(err, unix.ENOSPC) {
		k.Error(err)
	}
	for i := range free {
		k.expect(os.Remove(filepath.Join(filler, strconv.Itoa(n-2-i))), "")
	}
	return func() { k.expect(os.RemoveAll(filler), "") }
}

func TestReadOnlyStateDirectory(t *testing.T) {
	withOwnMounts(t, func() {
		k := newStore(t)
		k.prepare()
		before := k.documents()
		history := k.history()
		k.mount(k.dir, "", unix.MS_BIND, "")
		k.mount("", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		want := fmt.Sprintf("cannot write to the state directory %s: the file system is read-only; make it writable, or choose another directory with --state-dir", k.dir)
		for name, attempt := range attempts() {
			touched := 0
			err := k.update(func(u *Update) error { return attempt(u, &touched) })
			if err == nil || err.Error() != want || touched > 0 {
				t.Errorf("%s says %v and touched %d ports", name, err, touched)
			}
		}
		if diff := cmp.Diff(before, k.documents()); diff != "" {
			t.Error(diff)
		}
		k.filter("a")
		k.expectHistory(history...)
		if err := unix.Unmount(k.dir, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestStateDirectoryIsNobodyElses(t *testing.T) {
	k := newStore(t)
	k.prepare()
	k.put(k.path(FilterKind, "broken"), "<filter")
	journal := filepath.Join(k.dir, journalName)
	k.put(journal, read(t, journal)+"torn")
	k.define(doc("broken", ""), "")
	if len(k.asideTexts()) != 2 {
		t.Error("nothing was set aside")
	}
	err := filepath.WalkDir(k.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	k.expect(err, "")
}
