package document

import (
	"fmt"

	"tapgate/internal/suggest"
)

// DidYouMean is a hint at the known name that is nearest to the written one,
// or "" if none is near.
func (r *Reader) DidYouMean(written string, known []string) string {
	if r.Full() {
		return ""
	}
	if best := suggest.Nearest(written, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}
