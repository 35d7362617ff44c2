package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// history is one line for each entry.
func (k kept) history() (list []string) {
	k.Helper()
	err := k.View(k.Context(), func(v *View) error {
		entries, faults, err := v.History()
		for _, fault := range faults {
			k.Error(fault)
		}
		for i, e := range entries {
			if e.ID != int64(i+1) || e.Time.IsZero() || e.By.UID != uint32(os.Getuid()) {
				k.Errorf("entry %d is %+v", i, e)
			}
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s: %s → %s, %s %s", e.Operation, e.Name, e.Before.Summary, e.After.Summary, e.Result, e.Detail)))
		}
		return err
	})
	if err != nil {
		k.Error(err)
	}
	return list
}

func (k kept) expectHistory(want ...string) {
	k.Helper()
	if diff := cmp.Diff(want, k.history()); diff != "" {
		k.Error(diff)
	}
}

// revisions are the former and present texts of a filter.
func (k kept) revisions(name string) (list []Revision) {
	k.Helper()
	err := k.View(k.Context(), func(v *View) (err error) {
		list, err = v.Revisions(name)
		return err
	})
	if err != nil {
		k.Error(err)
	}
	return list
}

func (k kept) rollback(name, to string) error {
	return k.update(func(u *Update) error {
		f, _, err := u.Revision(name, to)
		if err == nil {
			_, err = u.Rollback(f, nil)
		}
		return err
	})
}

func (k kept) text(name string) string { return string(k.filter(name).Source) }

func TestChangesAreWrittenDown(t *testing.T) {
	k := newStore(t)
	k.expectHistory()
	k.define(doc("a", ""), "")
	k.define(doc("a", ""), "") // says the same, so that nothing is changed
	k.define(doc("b", ref("a")+ref("clean-traffic")+"<rule action='drop' direction='in'/>"), "")
	k.expect(k.undefine("a", false), "in use") // refused before anything is done
	k.bind("vnet0", "b")
	k.expect(k.update(func(u *Update) error { return u.Unbind("vnet0", nil) }), "")
	k.expect(k.undefine("b", false), "")
	const bound = "filter b 52:54:00:00:00:01 IP=10.0.0.5,10.0.0.6"
	k.expectHistory(
		"define a:  → 0 rules, done",
		"define b:  → 1 rule, 2 references, done",
		"bind vnet0:  → "+bound+", done",
		"unbind vnet0: "+bound+" → , done",
		"undefine b: 1 rule, 2 references → , done")
}

func TestChangesAtOnceAreNumberedOneByOne(t *testing.T) {
	k := newStore(t)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 10 {
				k.define(doc(fmt.Sprintf("f%d", n), strings.Repeat(ref("b"), i)), "")
			}
		})
	}
	all.Wait()
	if list := k.history(); len(list) != 40 { // which looks at the numbers
		t.Errorf("the journal has %d entries", len(list))
	}
}

func TestSomebodyElseIsNamed(t *testing.T) {
	k := newStore(t)
	bob := Actor{UID: 1234, User: "bob"}
	f, _ := ParseFilter([]byte(doc("a", "")), "", false)
	k.expect(k.As(bob).Update(t.Context(), func(u *Update) error { _, err := u.Define(f, nil); return err }), "")
	k.expect(k.View(t.Context(), func(v *View) error {
		entries, _, err := v.History()
		if len(entries) != 1 || !cmp.Equal(entries[0].By, bob) {
			t.Errorf("got %+v", entries)
		}
		return err
	}), "")
}

func (k kept) bindTogether(own string, enforce func() error) error {
	b := &binding.Binding{Port: "vnet0", MAC: []byte{0x52, 0x54, 0, 0, 0, 1}, Filter: "a"}
	f, _ := ParseFilter([]byte(own), "", false)
	return k.update(func(u *Update) error { _, err := u.Bind(b, f, enforce); return err })
}

func TestBindingAndItsFilterAreStoredTogether(t *testing.T) {
	k := newStore(t)
	none := func() error { return nil }
	k.expect(k.bindTogether(doc("a", ""), func() error { return errors.New("no such device") }), "no such device")
	const bound = "filter a 52:54:00:00:00:01"
	failed := []string{
		"define a:  → 0 rules, failed no such device",
		"bind vnet0:  → " + bound + ", failed no such device",
	}
	k.expectHistory(failed...)
	k.expect(k.View(t.Context(), func(v *View) error {
		_, err := v.Filter("a")
		return err
	}), "not defined")
	k.expect(k.bindTogether(doc("a", ""), none), "")
	k.expect(k.bindTogether(doc("a", ""), none), "") // the port is changed nevertheless
	k.expectHistory(append(failed,
		"define a:  → 0 rules, done",
		"bind vnet0:  → "+bound+", done",
		"bind vnet0: "+bound+" → "+bound+", done")...)
}

func TestUnbindingOfAPortWithoutABinding(t *testing.T) {
	k := newStore(t)
	k.bind("vnet0", "clean-traffic")
	var told []bool
	unbind := func(port string) error {
		return k.update(func(u *Update) error {
			return u.Unbind(port, func(stored bool) error { told = append(told, stored); return nil })
		})
	}
	for _, port := range []string{"vnet0", "vnet0"} {
		k.expect(unbind(port), "")
	}
	k.expect(unbind("../x"), "not bound")
	if !cmp.Equal(told, []bool{true, false}) {
		t.Errorf("release was told %v", told)
	}
}

// interrupt is a crash of the program that the test simulates.
type interrupt struct{}

// crash runs a change up to the point where the port is changed.
func (k kept) crash(change func(u *Update, enforce func() error) error) {
	k.Helper()
	defer func() {
		if _, ok := recover().(interrupt); !ok {
			k.Error("it was not interrupted")
		}
	}()
	_ = k.update(func(u *Update) error { return change(u, func() error { panic(interrupt{}) }) })
}

func TestInterruptedChangeIsToldTruthfully(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	b := &binding.Binding{Port: "vnet0", MAC: []byte{0x52, 0x54, 0, 0, 0, 1}, Filter: "a"}
	f, _ := ParseFilter([]byte(doc("a", ref("b"))), "", false)
	k.crash(func(u *Update, enforce func() error) error { _, err := u.Bind(b, f, enforce); return err })
	want := []string{
		"define a:  → 0 rules, done",
		"define a: 0 rules → 0 rules, 1 reference, interrupted nothing was changed",
		"bind vnet0:  → filter a 52:54:00:00:00:01, interrupted what is stored is as it was before; the port may be changed already: bind it again, or unbind it",
	}
	k.expectHistory(want...)
	k.define(doc("c", ""), "")
	k.expectHistory(append(want, "define c:  → 0 rules, done")...)

	// The same, where the documents were already in place.
	k.crash(func(u *Update, enforce func() error) error {
		c, err := u.writing(DefineOp, FilterKind, "c", []byte(doc("c", ref("a"))))
		if err == nil {
			err = u.begin([]*change{c})
		}
		if err == nil {
			err = u.backend.Write(FilterKind, "c", []byte(doc("c", ref("a"))))
		}
		return errors.Join(err, enforce())
	})
	k.expect(k.update(func(u *Update) error { return u.Repair() }), "")
	list := k.history()
	if got := list[len(list)-1]; got != "define c: 0 rules → 0 rules, 1 reference, done it was interrupted, and found to be done" {
		t.Errorf("the last entry is %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(k.dir, journalName)); err != nil || strings.Count(string(text), `"result"`) != len(list) {
		t.Errorf("not every change has a result in the journal: %s (%v)", text, err)
	}
}

func TestRollback(t *testing.T) {
	k := newStore(t)
	first, second, third := doc("a", "<!-- 1 -->"), doc("a", ref("clean-traffic")), doc("a", ref("b"))
	k.expect(k.rollback("a", ""), `filter "a" is not defined`)
	k.expect(k.rollback("clean-traffic", ""), `of filter "clean-traffic" no other text is known`)
	for _, text := range []string{first, second, third} {
		k.define(text, "")
	}
	uuid := k.filter("a").UUID
	k.expect(k.rollback("a", ""), "")
	if got := k.text("a"); got != second {
		t.Errorf("the text is %s", got)
	}
	k.expect(k.rollback("a", ""), "")
	if got := k.text("a"); got != third {
		t.Errorf("rolled back twice it is %s", got)
	}
	list := k.revisions("a")
	if len(list) != 3 || !list[0].Current || list[0].Since.IsZero() || list[1].Current || !list[2].Kept {
		t.Fatalf("the revisions are %+v", list)
	}
	oldest := list[2].Digest
	k.expect(k.rollback("a", oldest[:12]), "")
	if f := k.filter("a"); string(f.Source) != first || f.UUID != uuid || f.File != "some.xml" {
		t.Errorf("got %+v", f)
	}
	k.expect(k.rollback("a", oldest), "") // it has that text: nothing to do
	for prefix, fault := range map[string]string{"123": "too short", "zzzz": "had no text", oldest + "0": "had no text"} {
		k.expect(k.rollback("a", prefix), fault)
	}
	k.expect(k.undefine("a", false), "")
	k.expect(k.rollback("a", ""), "")
	if f := k.filter("a"); string(f.Source) != first || f.UUID != uuid {
		t.Errorf("defined again it is %+v", f)
	}
	lastEntries := k.history()
	if got := lastEntries[len(lastEntries)-1]; got != "rollback a:  → 0 rules, done" {
		t.Errorf("the last entry is %q", got)
	}
}

func TestRollbackIsCheckedLikeADefinition(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ref("b")), "")
	k.define(doc("a", ""), "")
	k.define(doc("b", ref("a")), "")
	k.expect(k.rollback("a", ""), `filter "a" would reference itself: a → b → a`)
	k.define(doc("c", id(idA)), "")
	k.expect(k.undefine("c", false), "")
	k.define(doc("c", id(idB)), "")
	k.expect(k.rollback("c", ""), "is defined with the UUID "+idB)
}

func TestFilterChangedByHandIsKeptToo(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	byHand := doc("a", ref("clean-traffic"))
	if err := os.WriteFile(k.path(FilterKind, "a"), []byte(byHand), 0o600); err != nil {
		t.Fatal(err)
	}
	k.define(doc("a", ref("b")), "")
	k.expect(k.rollback("a", ""), "")
	if got := k.text("a"); got != byHand {
		t.Errorf("the text is %s", got)
	}
}

func TestDamagedRevisionIsNotUsed(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	k.define(doc("a", ref("b")), "")
	former := k.path(RevisionKind, k.revisions("a")[1].Digest)
	if err := os.WriteFile(former, []byte(doc("a", ref("evil"))), 0o600); err != nil {
		t.Fatal(err)
	}
	k.expect(k.rollback("a", ""), "is damaged: its text is not the one that it is called after")
	if err := os.Remove(former); err != nil {
		t.Fatal(err)
	}
	k.expect(k.rollback("a", ""), "is not kept any more")
	k.define(doc("a", ""), "")
	k.expect(k.rollback("a", ""), "")
}

func TestRevisionsAreBounded(t *testing.T) {
	var entries []Entry
	add := func(name string, n, size int) {
		entries = append(entries, Entry{Kind: FilterKind, Name: name, Before: Version{Digest: fmt.Sprint(name, n), Size: size}})
	}
	for n := range maxRevisions + 20 {
		add("a", n, 10)
		add("b", 0, 10)
	}
	entries = append(entries, Entry{Kind: FilterKind, Name: "new"}, Entry{Kind: BindingKind, Name: "vnet0", Before: Version{Digest: "x", Size: 1}})
	keep := func() map[string]bool {
		kept := revisionsToKeep(entries)
		maps.DeleteFunc(kept, func(_ string, keep bool) bool { return !keep })
		return kept
	}
	kept := keep()
	if len(kept) != maxRevisions+1 || kept["a19"] || !kept["a20"] || !kept["b0"] {
		t.Errorf("%d are kept: %v", len(kept), kept)
	}
	for n := range 20 {
		add("large", n, nwfilter.MaxDocument)
	}
	if kept := keep(); len(kept) != 16 || !kept["large19"] {
		t.Errorf("%d are kept: %v", len(kept), kept)
	}
}

func TestFormerTextsGoWithTheirBound(t *testing.T) {
	k := newStore(t)
	k.expect(k.update(func(u *Update) error {
		for n := range 2 * pruneEvery {
			f, _ := ParseFilter([]byte(doc("a", strings.Repeat(ref("b"), n))), "", false)
			if _, err := u.Define(f, nil); err != nil {
				return err
			}
		}
		return nil
	}), "")
	names, err := os.ReadDir(filepath.Join(k.dir, string(RevisionKind)))
	if err != nil || len(names) != maxRevisions {
		t.Errorf("%d texts are kept, want %d (%v)", len(names), maxRevisions, err)
	}
	list := k.revisions("a")
	if len(list) != 2*pruneEvery || !list[maxRevisions].Kept || list[maxRevisions+1].Kept {
		t.Errorf("%d revisions, of which the last kept one is not number %d", len(list), maxRevisions)
	}
}
