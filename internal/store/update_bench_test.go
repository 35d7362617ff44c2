package store

import (
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkDefine replaces a filter by another text: the journal, the former
// text and the new one, all of them on disk.
func BenchmarkDefine(b *testing.B) {
	s := New(NewFiles(filepath.Join(b.TempDir(), "state")))
	for n := 0; b.Loop(); n++ {
		f, _ := ParseFilter([]byte(doc("a", fmt.Sprintf("<!-- %d -->", n))), "", false)
		if err := s.Update(b.Context(), func(u *Update) error { _, err := u.Define(f, nil); return err }); err != nil {
			b.Fatal(err)
		}
	}
}
