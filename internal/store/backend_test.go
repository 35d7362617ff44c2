package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// backends are tried by every test of the contract.
var backends = map[string]func(*testing.T) Backend{
	"files": func(t *testing.T) Backend { return NewFiles(filepath.Join(t.TempDir(), "state")) },
}

func eachBackend(t *testing.T, test func(*testing.T, Backend)) {
	for name, make := range backends {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func locked(t *testing.T, b Backend, exclusive bool) func() {
	t.Helper()
	unlock, err := b.Lock(t.Context(), exclusive)
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

func TestDocumentsAreKept(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		defer locked(t, b, true)()
		for _, kind := range kinds {
			if names, err := b.Names(kind); err != nil || len(names) > 0 {
				t.Errorf("an empty store has %s %q (%v)", kind, names, err)
			}
		}
		for _, name := range []string{"b", "a", "größe", ".x", "a.xml", strings.Repeat("n", 245)} {
			for _, text := range []string{"first", "second, longer", ""} {
				if err := b.Write(FilterKind, name, []byte(text)); err != nil {
					t.Fatal(err)
				}
				if got, err := b.Read(FilterKind, name); err != nil || string(got) != text {
					t.Errorf("%s is %q (%v)", name, got, err)
				}
			}
		}
		want := []string{".x", "a", "a.xml", "b", "größe", strings.Repeat("n", 245)}
		names, err := b.Names(FilterKind)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want[:4], names[:4]); diff != "" || len(names) != len(want) {
			t.Errorf("%q: %s", names, diff)
		}
		for _, kind := range []Kind{BindingKind, SettingsKind, LeaseKind} {
			if names, _ := b.Names(kind); len(names) > 0 {
				t.Errorf("filters are listed among the %s: %q", kind, names)
			}
			if err := b.Write(kind, "a", []byte(kind)); err != nil {
				t.Error(err)
			}
			if text, err := b.Read(kind, "a"); err != nil || string(text) != string(kind) {
				t.Errorf("%s: %q (%v)", kind, text, err)
			}
			if names, err := b.Names(kind); err != nil || !slices.Equal(names, []string{"a"}) {
				t.Errorf("%s has %q (%v)", kind, names, err)
			}
		}
		if err := b.Remove(FilterKind, "a"); err != nil {
			t.Error(err)
		}
		if _, err := b.Read(FilterKind, "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reading what was removed: %v", err)
		}
		if err := b.Remove(FilterKind, "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removing it again: %v", err)
		}
	})
}

func TestNamesCannotLeaveTheStore(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		defer locked(t, b, true)()
		for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc/x", "a\x00b", "a\nb", strings.Repeat("n", 246)} {
			if err := b.Write(FilterKind, name, nil); err == nil {
				t.Errorf("%q was written", name)
			}
			if _, err := b.Read(FilterKind, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reading %q: %v", name, err)
			}
			if err := b.Remove(FilterKind, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("removing %q: %v", name, err)
			}
		}
	})
}

func TestDraftsAreNoDocumentsYet(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		defer locked(t, b, true)()
		reads := func(want string) {
			t.Helper()
			if text, err := b.Read(FilterKind, "a"); err != nil || string(text) != want {
				t.Errorf("the document is %q (%v), want %q", text, err, want)
			}
			if names, err := b.Names(FilterKind); err != nil || len(names) != 1 {
				t.Errorf("the documents are %q (%v)", names, err)
			}
		}
		if err := b.Write(FilterKind, "a", []byte("old")); err != nil {
			t.Fatal(err)
		}
		for want, end := range map[string]func(Draft) error{
			"old": func(d Draft) error { return nil },
			"new": func(d Draft) error { return d.Commit() },
		} {
			if err := b.Write(FilterKind, "a", []byte("old")); err != nil {
				t.Fatal(err)
			}
			d, err := b.Prepare(FilterKind, "a", []byte("new"))
			if err != nil {
				t.Fatal(err)
			}
			reads("old")
			if err := end(d); err != nil {
				t.Error(err)
			}
			d.Discard()
			reads(want)
		}
	})
}

func TestWhatIsSetAsideIsGoneAndNotLost(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		defer locked(t, b, true)()
		places := map[string]bool{}
		for _, name := range []string{"a", "a", strings.Repeat("n", 245)} {
			if err := b.Write(FilterKind, name, []byte("text")); err != nil {
				t.Fatal(err)
			}
			place, err := b.SetAside(FilterKind, name)
			if err != nil || places[place] {
				t.Errorf("the place is %q (%v)", place, err)
			}
			places[place] = true
			if _, err := b.Read(FilterKind, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		}
		for _, name := range []string{"a", "../x"} {
			if _, err := b.SetAside(FilterKind, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("setting %s aside: %v", name, err)
			}
		}
	})
}

func TestJournalGrowsAndForgetsTheOldest(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		defer locked(t, b, true)()
		if text, err := b.Journal(1 << 30); err != nil || len(text) > 0 {
			t.Errorf("a new journal is %q (%v)", text, err)
		}
		const length = 48 << 10
		var want []byte
		for n := range 3 * JournalSize / length {
			line := append(bytes.Repeat([]byte{'a' + byte(n%26)}, length-1), '\n')
			if err := b.Append(line); err != nil {
				t.Fatal(err)
			}
			want = append(want, line...)
		}
		all, err := b.Journal(1 << 30)
		if err != nil || len(all) < JournalSize || len(all) > 2*JournalSize+length || !bytes.HasSuffix(want, all) {
			t.Errorf("the journal has %d bytes (%v), or the wrong ones", len(all), err)
		}
		for _, most := range []int64{0, 1, length, length + 1, 10*length - 1, JournalSize + 5*length} {
			end, err := b.Journal(most)
			if err != nil || int64(len(end)) > most || int64(len(end)) < most-2*length || len(end)%length != 0 || !bytes.HasSuffix(want, end) {
				t.Errorf("its last %d bytes are %d (%v), or the wrong ones", most, len(end), err)
			}
		}
	})
}

func TestWritersExcludeEveryoneReadersShare(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		locked(t, b, true)() // a store that was written to
		first := locked(t, b, false)
		second := locked(t, b, false)
		if obtains(t, b, true) {
			t.Error("two readers did not keep a writer out")
		}
		first()
		second()
		writer := locked(t, b, true)
		if obtains(t, b, false) || obtains(t, b, true) {
			t.Error("a writer did not keep others out")
		}
		writer()
	})
}

// obtains tells whether the lock can be had within a moment.
func obtains(t *testing.T, b Backend, exclusive bool) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	unlock, err := b.Lock(ctx, exclusive)
	if err == nil {
		unlock()
	}
	return err == nil
}

func TestLeftoversOfACrashAreCleared(t *testing.T) {
	dir := t.TempDir()
	files := NewFiles(dir)
	locked(t, files, true)()
	leftover := filepath.Join(dir, string(FilterKind), tempPrefix+"123")
	if err := os.WriteFile(leftover, []byte("<filt"), 0o600); err != nil {
		t.Fatal(err)
	}
	unlock := locked(t, files, false)
	if names, err := files.Names(FilterKind); err != nil || len(names) > 0 {
		t.Errorf("a leftover is listed: %q (%v)", names, err)
	}
	unlock()
	locked(t, files, true)()
	if _, err := os.Stat(leftover); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the leftover is still there (%v)", err)
	}
}

// countEnv makes the test's program count up in a store instead of testing.
const countEnv = "TAPGATE_TEST_COUNT_IN"

const (
	counters = 4
	rounds   = 25
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(countEnv); dir != "" {
		if err := countUp(context.Background(), NewFiles(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(changeEnv); dir != "" {
		changeForEver(New(NewFiles(dir)))
	}
	os.Exit(m.Run())
}

// countUp reads a number and writes the next one: two at once would lose some.
func countUp(ctx context.Context, b Backend) error {
	for range rounds {
		unlock, err := b.Lock(ctx, true)
		if err != nil {
			return err
		}
		text, err := b.Read(FilterKind, "count")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		n, _ := strconv.Atoi(string(text))
		if err := b.Write(FilterKind, "count", []byte(strconv.Itoa(n+1))); err != nil {
			return err
		}
		unlock()
	}
	return nil
}

func TestNoChangeIsLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for name, count := range map[string]func() error{
		"goroutines": func() error { return countUp(t.Context(), NewFiles(dir)) },
		"processes": func() error {
			c := exec.CommandContext(t.Context(), os.Args[0])
			c.Env = append(os.Environ(), countEnv+"="+dir)
			out, err := c.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range counters {
				all.Go(func() {
					if err := count(); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			files := NewFiles(dir)
			defer locked(t, files, false)()
			if text, err := files.Read(FilterKind, "count"); err != nil || string(text) != strconv.Itoa(counters*rounds) {
				t.Errorf("counted up to %q (%v), want %d", text, err, counters*rounds)
			}
		})
	}
}
