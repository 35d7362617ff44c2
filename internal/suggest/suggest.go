// Package suggest guesses what was meant by a name that is not known.
package suggest

import "strings"

// Nearest is the known name that a person may have meant by the written one, "" if
// none is near. Case does not count.
func Nearest(written string, known []string) string {
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
