package store

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func line(id int64, op Operation, result Result) []byte {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	if op == "" {
		return encodeLine(ended{journalForm, id, at, result, ""})
	}
	return encodeLine(begun{journalForm, Entry{ID: id, Time: at, Operation: op, Kind: FilterKind, Name: "a", By: Actor{UID: 7}}})
}

func TestJournalIsReadBack(t *testing.T) {
	damaged := line(3, DefineOp, "")
	damaged[20] ^= 1
	newer := encodeLine(begun{journalForm + 1, Entry{ID: 4, Operation: "teleport"}})
	type read struct {
		ID     int64
		Result Result
	}
	for name, test := range map[string]struct {
		text   [][]byte
		want   []read
		faults []string
	}{
		"nothing":                     {},
		"a change and its end":        {[][]byte{line(1, DefineOp, ""), line(1, "", Done)}, []read{{1, Done}}, nil},
		"two at once":                 {[][]byte{line(1, DefineOp, ""), line(2, BindOp, ""), line(1, "", Done), line(2, "", Failed)}, []read{{1, Done}, {2, Failed}}, nil},
		"no end":                      {[][]byte{line(1, DefineOp, ""), line(2, DefineOp, ""), line(2, "", Done)}, []read{{1, ""}, {2, Done}}, nil},
		"an end without a beginning":  {[][]byte{line(1, "", Done), line(2, DefineOp, "")}, []read{{2, ""}}, nil},
		"a torn last line":            {[][]byte{line(1, DefineOp, ""), line(1, "", Done)[:30]}, []read{{1, ""}}, nil},
		"a last line without its end": {[][]byte{bytes.TrimSuffix(line(1, DefineOp, ""), []byte("\n"))}, nil, nil},
		"damaged lines": {[][]byte{line(1, DefineOp, ""), damaged, []byte("hello\n"), []byte("\n"), line(2, DefineOp, "")}, []read{{1, ""}, {2, ""}},
			[]string{"line 2 of the journal cannot be read: it is damaged", "line 3 of the journal cannot be read: it is damaged", "line 4 of the journal cannot be read: it is damaged"}},
		"a line that somebody removed": {[][]byte{line(3, DefineOp, ""), line(3, "", Done), line(6, DefineOp, "")}, []read{{3, Done}, {6, ""}},
			[]string{"the journal lacks the changes 4 to 5 before line 3"}},
		"numbers that begin anew": {[][]byte{line(9, DefineOp, ""), line(1, DefineOp, ""), line(1, "", Done)}, []read{{9, ""}, {1, Done}}, nil},
		"a later form":            {[][]byte{newer, line(5, DefineOp, "")}, []read{{5, ""}}, []string{"line 1 of the journal cannot be read: a newer tapgate wrote it"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := readJournal(bytes.Join(test.text, nil))
			var got []read
			for _, e := range j.entries {
				got = append(got, read{e.ID, e.Result})
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			var said []string
			for _, f := range j.faults {
				said = append(said, f.Error())
			}
			if diff := cmp.Diff(test.faults, said); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func drawEntry(t *rapid.T) Entry {
	text := rapid.String()
	e := Entry{
		ID: rapid.Int64Min(1).Draw(t, "id"), Time: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "time"), 0).UTC(),
		Operation: Operation(rapid.StringN(1, -1, -1).Draw(t, "operation")), Kind: Kind(text.Draw(t, "kind")), Name: text.Draw(t, "name"),
		By:     Actor{UID: rapid.Uint32().Draw(t, "uid"), User: text.Draw(t, "user")},
		Before: Version{Digest: text.Draw(t, "digest"), Summary: text.Draw(t, "summary")}, After: Version{Size: rapid.Int().Draw(t, "size")},
		Enforced: rapid.Bool().Draw(t, "enforced"), Detail: text.Draw(t, "detail"),
	}
	if rapid.Bool().Draw(t, "login") {
		e.By.Login = &Login{UID: 3, User: text.Draw(t, "login user"), From: "sudo"}
	}
	return e
}

func TestEveryLineComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEntry(t)
		encoded := encodeLine(begun{journalForm, want})
		if bytes.Count(encoded, []byte("\n")) != 1 {
			t.Fatalf("%q is not one line", encoded)
		}
		got, err := decodeLine(bytes.TrimSuffix(encoded, []byte("\n")))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

func TestEveryChangedByteIsFound(t *testing.T) {
	whole := bytes.TrimSuffix(line(1, DefineOp, ""), []byte("\n"))
	for i := range whole {
		for _, by := range []byte{1, 0x20, 0x80} {
			changed := bytes.Clone(whole)
			changed[i] ^= by
			if _, err := decodeLine(changed); err == nil {
				t.Errorf("byte %d xor %#x: %s is taken", i, by, changed)
			}
		}
		if _, err := decodeLine(whole[:i]); err == nil {
			t.Errorf("the first %d bytes are taken", i)
		}
	}
}

// FuzzJournal reads anything, and finds a change that is added to it.
func FuzzJournal(f *testing.F) {
	f.Add([]byte{})
	f.Add(line(1, DefineOp, ""))
	f.Add(append(line(1, DefineOp, ""), line(1, "", Done)...))
	f.Add([]byte("\n{}\n{\"form\":1,\"check\":\"00000000\"}\n"))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, text []byte) {
		j := readJournal(text)
		if lines := bytes.Count(text, []byte("\n")); len(j.entries) > lines || len(j.faults) > lines {
			t.Fatalf("%d entries and %d faults in %q", len(j.entries), len(j.faults), text)
		}
		text = append(text, '\n')
		more := readJournal(append(append(text, line(9, DefineOp, "")...), line(9, "", Failed)...)).entries
		if len(more) == 0 || more[len(more)-1].ID != 9 || more[len(more)-1].Result != Failed {
			t.Fatalf("behind %q the change is %+v", text, more)
		}
	})
}
