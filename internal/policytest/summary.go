package policytest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Summary counts packets; a test of an error counts as one.
type Summary struct {
	Files int `json:"files"`
	// Passed got the expected verdict. Known did not, but a difference of
	// COMPATIBILITY.md explains why. Skipped were not tried.
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
	// Known counts by the difference's id, SkippedFor files by reason.
	Known      map[string]int `json:"known,omitempty"`
	SkippedFor map[string]int `json:"skipped_for,omitempty"`
}

// KnownTotal is the number of packets that a difference explains.
func (s *Summary) KnownTotal() int {
	n := 0
	for _, count := range s.Known {
		n += count
	}
	return n
}

func (s *Summary) add(o *Summary) {
	s.Files += o.Files
	s.Passed += o.Passed
	s.Failed += o.Failed
	s.Skipped += o.Skipped
	for id, n := range o.Known {
		s.addKnown(id, n)
	}
	for reason, n := range o.SkippedFor {
		if s.SkippedFor == nil {
			s.SkippedFor = map[string]int{}
		}
		s.SkippedFor[reason] += n
	}
}

func (s *Summary) addKnown(id string, n int) {
	if s.Known == nil {
		s.Known = map[string]int{}
	}
	s.Known[id] += n
}

// String is two lines: the known differences with their counts, largest
// first, and the totals.
func (s *Summary) String() string {
	var ids []string
	for id := range s.Known {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Known[b], s.Known[a]), cmp.Compare(a, b))
	})
	for i, id := range ids {
		ids[i] = fmt.Sprintf("%s %d", id, s.Known[id])
	}
	known := fmt.Sprintf("%d known", s.KnownTotal())
	if len(ids) > 0 {
		known += " (" + strings.Join(ids, ", ") + ")"
	}
	return fmt.Sprintf("%s\n%d passed, %d failed, %d skipped", known, s.Passed, s.Failed, s.Skipped)
}
