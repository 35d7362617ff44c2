package store

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// kept is a store in a directory of its own.
type kept struct {
	*Store
	*testing.T
	dir string
}

func newStore(t *testing.T) kept {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	return kept{New(NewFiles(dir)), t, dir}
}

func (k kept) update(fn func(*Update) error) error {
	return k.Update(k.Context(), fn)
}

// define fails unless the error contains the text; "" stands for none.
func (k kept) define(text, fault string) (change Change) {
	k.Helper()
	f, diagnostics := ParseFilter([]byte(text), "some.xml", false)
	if f == nil {
		k.Fatal(diagnostics)
	}
	err := k.update(func(u *Update) (err error) {
		change, err = u.Define(f, nil)
		return err
	})
	k.expect(err, fault)
	return change
}

func (k kept) expect(err error, fault string) {
	k.Helper()
	switch {
	case fault == "" && err != nil:
		k.Error(err)
	case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
		k.Errorf("got the error %v, want %q", err, fault)
	}
}

func (k kept) filter(name string) (f *Filter) {
	k.Helper()
	err := k.View(k.Context(), func(v *View) (err error) {
		f, err = v.Filter(name)
		return err
	})
	if err != nil {
		k.Fatal(err)
	}
	return f
}

func (k kept) undefine(name string, force bool) error {
	return k.update(func(u *Update) error { return u.Undefine(name, force, nil) })
}

func (k kept) path(kind Kind, name string) string {
	return filepath.Join(k.dir, string(kind), name+kind.ending())
}

const (
	idA = "11111111-2222-3333-4444-555555555555"
	idB = "66666666-2222-3333-4444-555555555555"
)

func doc(name, inside string) string { return "<filter name='" + name + "'>" + inside + "</filter>" }

func ref(name string) string { return "<filterref filter='" + name + "'/>" }

func id(uuid string) string { return "<uuid>" + uuid + "</uuid>" }

func TestFilterKeepsItsTextLinesAndFile(t *testing.T) {
	k := newStore(t)
	text := "<!-- mine -->\n\n<filter name='a'>\n  <rule action='drop' direction='in'/>\n</filter>"
	k.define(text, "")
	f := k.filter("a")
	if string(f.Source) != text {
		t.Errorf("the source is %q", f.Source)
	}
	want := nwfilter.Position{File: "some.xml", Line: 4, Column: 3}
	if got := f.Entries[0].Rule.Pos; got != want {
		t.Errorf("the rule stands at %v, want %v", got, want)
	}
	if f.UUID == "" || f.BuiltIn || f.Overrides {
		t.Errorf("got %+v", f)
	}
	info, err := os.Stat(k.path(FilterKind, "a"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

func TestStoredFileIsStillADocument(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", "")+"\n<!-- ?> -->", "")
	text, err := os.ReadFile(k.path(FilterKind, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if f, diagnostics := nwfilter.Parse(text, "", nwfilter.Options{}); f == nil {
		t.Error(diagnostics)
	}
	k.define(string(text), "")
	again, err := os.ReadFile(k.path(FilterKind, "a"))
	if err != nil || string(again) != string(text) {
		t.Errorf("defining a stored file again makes of it %s (%v)", again, err)
	}
}

func TestFilterWithoutFileNameIsNamedByItsPlace(t *testing.T) {
	k := newStore(t)
	f, _ := ParseFilter([]byte(doc("a", "")), "", false)
	if err := k.update(func(u *Update) error { _, err := u.Define(f, nil); return err }); err != nil {
		t.Fatal(err)
	}
	if got := k.filter("a").File; got != k.path(FilterKind, "a") {
		t.Errorf("the file is %s", got)
	}
}

func TestLenientFilterStaysReadable(t *testing.T) {
	k := newStore(t)
	text := doc("a", "<rule action='drop' direction='in'><tcp nonsense='1'/></rule>")
	f, diagnostics := ParseFilter([]byte(text), "a.xml", true)
	if f == nil {
		t.Fatal(diagnostics)
	}
	if err := k.update(func(u *Update) error { _, err := u.Define(f, nil); return err }); err != nil {
		t.Fatal(err)
	}
	if !k.filter("a").Lenient {
		t.Error("the filter is read strictly now")
	}
}

func TestUUIDs(t *testing.T) {
	t.Run("a replacement without one keeps it", func(t *testing.T) {
		k := newStore(t)
		if got := k.define(doc("a", id(idA)), ""); got != Added {
			t.Errorf("change %d", got)
		}
		if got := k.define(doc("a", ref("clean-traffic")), ""); got != Replaced {
			t.Errorf("change %d", got)
		}
		if got := k.define("\n"+doc("a", ref("clean-traffic")), ""); got != Unchanged {
			t.Errorf("change %d", got)
		}
		if got := k.filter("a").UUID; got != idA {
			t.Errorf("the UUID is %s", got)
		}
	})
	t.Run("a generated one stays", func(t *testing.T) {
		k := newStore(t)
		k.define(doc("a", ""), "")
		first := k.filter("a").UUID
		k.define(doc("a", ref("clean-traffic")), "")
		if got := k.filter("a").UUID; got != first {
			t.Errorf("%s became %s", first, got)
		}
	})
	t.Run("another one under the name is refused", func(t *testing.T) {
		k := newStore(t)
		k.define(doc("a", id(idA)), "")
		k.define(doc("a", id(idB)), `filter "a" is defined with the UUID `+idA)
	})
	t.Run("one of another name is refused", func(t *testing.T) {
		k := newStore(t)
		k.define(doc("a", id(idA)), "")
		k.define(doc("b", id(idA)), `of filter "a"`)
		if err := k.undefine("a", false); err != nil {
			t.Error(err)
		}
		k.define(doc("b", id(idA)), "")
	})
}

func TestLoopsAreRefusedWithTheirPath(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ref("a")), `filter "a" would reference itself: a → a`)
	k.define(doc("b", ref("c")), "") // c is not defined yet
	k.define(doc("c", ref("clean-traffic")+ref("d")), "")
	k.define(doc("d", ref("b")), `filter "d" would reference itself: d → b → c → d`)
	k.define(doc("no-mac-spoofing", ref("clean-traffic")), "no-mac-spoofing → clean-traffic → no-mac-spoofing")
	k.define(doc("d", ""), "")
	k.define(doc("d", ref("b")), "d → b → c → d")
}

func TestBuiltInFilters(t *testing.T) {
	k := newStore(t)
	if f := k.filter("clean-traffic"); !f.BuiltIn || !strings.Contains(string(f.Source), "<filter name='clean-traffic'") {
		t.Errorf("got %+v", f)
	}
	k.expect(k.undefine("clean-traffic", true), `filter "clean-traffic" is built in and cannot be undefined`)
	k.define(doc("clean-traffic", ""), "")
	k.define(doc("a", ref("clean-traffic")), "")
	if f := k.filter("clean-traffic"); f.BuiltIn || !f.Overrides || len(f.Entries) > 0 {
		t.Errorf("got %+v", f)
	}
	k.expect(k.undefine("clean-traffic", false), "")
	if f := k.filter("clean-traffic"); !f.BuiltIn {
		t.Errorf("got %+v", f)
	}
}

func (k kept) bind(port, filter string) {
	k.Helper()
	b := &binding.Binding{Port: port, MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Filter: filter,
		Parameters: []nwfilter.Parameter{{Name: "IP", Value: "10.0.0.5"}, {Name: "IP", Value: "10.0.0.6"}}}
	if err := k.update(func(u *Update) error { _, err := u.Bind(b, nil, nil); return err }); err != nil {
		k.Error(err)
	}
}

func TestFilterInUseIsNotUndefined(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	k.define(doc("b", ref("a")+ref("a")), "")
	k.bind("vnet0", "a")
	k.bind("vnet1", "b")
	err := k.undefine("a", false)
	k.expect(err, `filter "a" is in use by filter b, port vnet0`)
	var inUse *InUseError
	if !errors.As(err, &inUse) || !cmp.Equal(inUse, &InUseError{"a", []string{"b"}, []string{"vnet0"}}) {
		t.Errorf("got %+v", inUse)
	}
	k.expect(k.undefine("a", true), "")
	if err := k.undefine("a", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestReachFollowsReferences(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	k.define(doc("b", ref("a")), "")
	k.bind("vnet0", "a")
	k.bind("vnet1", "b")
	k.bind("vnet2", "clean-traffic")
	err := k.View(t.Context(), func(v *View) error {
		ports, err := v.Reach("a")
		if diff := cmp.Diff([]string{"vnet0", "vnet1"}, ports); diff != "" {
			t.Error(diff)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBindingsComeBack(t *testing.T) {
	k := newStore(t)
	k.bind("vnet0", "clean-traffic")
	read := func() (b *binding.Binding) {
		err := k.View(t.Context(), func(v *View) (err error) {
			b, err = v.Binding("vnet0")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := read()
	if first.MAC.String() != "52:54:00:00:00:01" || first.Filter != "clean-traffic" || len(first.Parameters) != 2 || first.OwnerUUID == "" {
		t.Errorf("got %+v", first)
	}
	k.bind("vnet0", "no-mac-spoofing")
	if again := read(); again.Filter != "no-mac-spoofing" || again.OwnerUUID != first.OwnerUUID {
		t.Errorf("got %+v", again)
	}
	unbind := func() error { return k.update(func(u *Update) error { return u.Unbind("vnet0", nil) }) }
	k.expect(unbind(), "")
	if err := unbind(); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableFileIsReportedAndTheRestServed(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	k.bind("vnet0", "a")
	for path, text := range map[string]string{
		k.path(FilterKind, "broken"):  "<filter name='broken'",
		k.path(FilterKind, "renamed"): doc("other", ""),
		k.path(BindingKind, "vnet1"):  "<domain/>",
		k.path(BindingKind, "vnet2"):  "nothing",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := k.View(t.Context(), func(v *View) error {
		list, faults, err := v.Filters()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(f *Filter) bool { return f.Name == "a" }) || len(faults) != 2 {
			t.Errorf("got %d filters and the faults %v", len(list), faults)
		}
		bindings, faults, err := v.Bindings()
		if len(bindings) != 1 || len(faults) != 2 {
			t.Errorf("got %d bindings and the faults %v", len(bindings), faults)
		}
		_, fault := v.Filter("renamed")
		k.expect(fault, "its file must be called other.xml")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	k.define(doc("broken", ""), "")
	k.filter("broken")
}

func TestEmptyDirectoryServesTheBuiltInFilters(t *testing.T) {
	k := newStore(t)
	k.filter("clean-traffic")
	if _, err := os.Stat(k.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading made the directory (%v)", err)
	}
}
