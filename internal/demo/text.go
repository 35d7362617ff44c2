package demo

import (
	"fmt"
	"strings"
)

func seconds(n float64) string { return fmt.Sprintf("%.2f s", n) }

// decidersText is how rules are shown: lines of one file together, and the
// action at the end where it is the same for all.
func decidersText(list []Decider) string {
	if len(list) == 0 {
		return "-"
	}
	var parts []string
	for i, d := range list {
		if d.Reason != "" {
			parts = append(parts, d.Reason)
			continue
		}
		if i > 0 && list[i-1].File == d.File && list[i-1].Action == d.Action {
			parts[len(parts)-1] += fmt.Sprintf(",%d", d.Line)
		} else {
			parts = append(parts, fmt.Sprintf("%s:%d", d.File, d.Line))
		}
		if i+1 == len(list) || list[i+1].Action != d.Action {
			parts[len(parts)-1] += " " + d.Action
		}
	}
	return strings.Join(parts, ", ")
}
