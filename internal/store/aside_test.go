package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tapgate/nwfilter"
)

// put writes a file as somebody else would.
func (k kept) put(path, text string) {
	k.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.Fatal(err)
	}
}

// aside are the texts that were set aside, by kind and name.
func (k kept) asideTexts() map[string]string {
	k.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(k.dir, asideDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rest, _ := filepath.Rel(filepath.Join(k.dir, asideDir), path)
		_, rest, _ = strings.Cut(rest, "/")
		found[rest] = string(text)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.Error(err)
	}
	return found
}

func TestWhatCannotBeReadIsSetAside(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	k.bind("vnet0", "a")
	later := doc("later", "") + `<?tapgate {"form":2}?>`
	bad := map[string]string{
		"filters/half.xml":    "<filter name='ha",
		"filters/empty.xml":   "",
		"filters/zeros.xml":   strings.Repeat("\x00", 5000),
		"filters/long.xml":    strings.Repeat(" ", nwfilter.MaxDocument+100<<10),
		"filters/later.xml":   later,
		"filters/renamed.xml": doc("other", ""),
		"bindings/vnet1.xml":  "<filterbinding>",
		"bindings/vnet2.xml":  strings.Replace(read(t, k.path(BindingKind, "vnet0")), "vnet0", "vnet2", 1) + `<?tapgate {"form":9}?>`,
	}
	for path, text := range bad {
		k.put(filepath.Join(k.dir, path), text)
	}
	k.expect(k.View(t.Context(), func(v *View) error {
		_, faults, err := v.Filters()
		if len(faults) != 6 {
			t.Errorf("a reader is told %v", faults)
		}
		return err
	}), "")
	if got := k.asideTexts(); len(got) != 0 {
		t.Errorf("a reader set aside %v", got)
	}

	var said []error
	k.expect(k.update(func(u *Update) error { err := u.Repair(); said = u.Aside(); return err }), "")
	got := k.asideTexts()
	for path, text := range bad {
		if got[path] != text {
			t.Errorf("of %s %d bytes were set aside", path, len(got[path]))
		}
	}
	if len(said) != len(bad) || len(got) != len(bad) {
		t.Errorf("%d files are set aside, and said is %v", len(got), said)
	}
	all := errors.Join(said...).Error()
	for _, want := range []string{
		`the stored filter "later" cannot be read: a newer tapgate wrote it, in form 2; this one reads up to form 1; it was set aside as ` + k.dir + "/aside/2",
		`the stored binding of "vnet2" cannot be read: a newer tapgate wrote it, in form 9`,
		`the stored filter "empty" cannot be read: `,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not said in %s", want, all)
		}
	}
	k.filter("a")
	k.expect(k.update(func(u *Update) error {
		err := u.Repair()
		if len(u.Aside()) > 0 {
			t.Errorf("said again: %v", u.Aside())
		}
		return err
	}), "")
	if n := len(k.history()); n != 2+len(bad) {
		t.Errorf("the journal has %d entries", n)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReplacedFilterThatCannotBeReadIsKept(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	for _, text := range []string{"first nonsense", "second nonsense"} { // within a second
		k.put(k.path(FilterKind, "a"), text)
		k.define(doc("a", ref("b")), "")
	}
	found := 0
	err := filepath.WalkDir(filepath.Join(k.dir, asideDir), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(read(t, path), "nonsense") {
			found++
		}
		return err
	})
	if err != nil || found != 2 {
		t.Errorf("%d of 2 texts are set aside (%v)", found, err)
	}
	k.expectHistory(
		"define a:  → 0 rules, done",
		`set aside a: unreadable → , done the stored filter "a" cannot be read: `+k.path(FilterKind, "a")+`:1:1: text outside of the outermost element`,
		"define a:  → 0 rules, 1 reference, done",
		`set aside a: unreadable → , done the stored filter "a" cannot be read: `+k.path(FilterKind, "a")+`:1:1: text outside of the outermost element`,
		"define a:  → 0 rules, 1 reference, done")
}

func TestFormOfDocumentsIsNoted(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	k.bind("vnet0", "a")
	for _, path := range []string{k.path(FilterKind, "a"), k.path(BindingKind, "vnet0")} {
		if text := read(t, path); !strings.Contains(text, `<?tapgate {"form":1`) {
			t.Errorf("%s is %s", path, text)
		}
	}
	// What was kept before forms were noted is read as ever.
	k.put(k.path(FilterKind, "a"), doc("a", "")+`<?tapgate {"uuid":"`+idA+`","file":"a.xml"}?>`)
	if f := k.filter("a"); f.UUID != idA {
		t.Errorf("got %+v", f)
	}
}
