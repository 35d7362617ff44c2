package document

import (
	"fmt"
	"strings"
)

// DidYouMean is a hint at the known name that is nearest to the written one,
// or "" if none is near.
func (r *Reader) DidYouMean(written string, known []string) string {
	if r.Full() {
		return ""
	}
	if best := nearest(written, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

func nearest(written string, known []string) string {
	written = strings.ToLower(written)
	if len(written) > 40 {
		return ""
	}
	best, least := "", 1+max(1, len(written)/3)
	for _, name := range known {
		if d := distance(written, strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	for _, name := range known {
		if best == "" && len(written) >= 3 && strings.HasPrefix(name, written) {
			best = name
		}
	}
	return best
}

// distance counts the letters to insert, drop, replace, or exchange with their
// neighbour.
func distance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
