package store

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestTornLineIsCutOffAndKept(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	path := filepath.Join(k.dir, journalName)
	whole := read(t, path)
	torn := string(line(2, DefineOp, "")[:50])
	k.put(path, whole+torn)
	want := "define a:  → 0 rules, done"
	k.expectHistory(want)
	if read(t, path) != whole+torn {
		t.Error("a reader repaired the journal")
	}
	k.define(doc("b", ""), "")
	k.expectHistory(want, "define b:  → 0 rules, done")
	if got := k.asideTexts(); len(got) != 1 || got[journalName] != torn {
		t.Errorf("set aside is %q", got)
	}
	if !strings.HasPrefix(read(t, path), whole) {
		t.Error("what was there before is changed")
	}
}

func TestJournalThatIsNoneIsSetAside(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	path := filepath.Join(k.dir, journalName)
	garbage := strings.Repeat("\x00", 3*longestLine)
	k.put(path, garbage)
	k.define(doc("b", ""), "")
	k.expectHistory("define b:  → 0 rules, done")
	if got := k.asideTexts(); len(got) != 1 || got[journalName] != garbage {
		t.Errorf("set aside are %d texts", len(got))
	}
}

func TestDamagedLinesAreReportedAndTheRestIsToldOf(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	path := filepath.Join(k.dir, journalName)
	k.put(path, strings.Replace(read(t, path), `"define"`, `"undefine"`, 1))
	k.define(doc("b", ""), "")
	err := k.View(t.Context(), func(v *View) error {
		entries, faults, err := v.History()
		if len(entries) != 1 || entries[0].Name != "b" || entries[0].ID != 2 || len(faults) != 1 {
			t.Errorf("got %+v and %v", entries, faults)
		}
		return err
	})
	k.expect(err, "")
}

func TestJournalGoesOnInANewFile(t *testing.T) {
	k := newStore(t)
	k.define(doc("a", ""), "")
	path := filepath.Join(k.dir, journalName)
	// As many damaged lines as fill it: they count for nothing else.
	k.put(path, read(t, path)+strings.Repeat(strings.Repeat("x", 1023)+"\n", JournalSize>>10))
	k.define(doc("b", ""), "")
	k.define(doc("c", ""), "")
	err := k.View(t.Context(), func(v *View) error {
		entries, _, err := v.History()
		if len(entries) != 3 || entries[0].ID != 1 || entries[2].ID != 3 {
			t.Errorf("got %+v", entries)
		}
		return err
	})
	k.expect(err, "")
	if text := read(t, path); strings.Contains(text, "xxx") || !strings.Contains(text, `"b"`) {
		t.Errorf("the new file has %d bytes", len(text))
	}
}
