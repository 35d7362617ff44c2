package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// screen shows lines again and again: in the same place on a terminal, one after
// the other elsewhere.
type screen struct {
	w io.Writer
	// size gives lines and columns; ok is false if w is no terminal.
	size  func() (lines, columns int, ok bool)
	drawn bool
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, size: func() (int, int, bool) {
		file, ok := w.(*os.File)
		if !ok {
			return 0, 0, false
		}
		size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0, 0, false
		}
		return int(size.Row), int(size.Col), true
	}}
}

// Control sequences of terminals (ECMA-48 sections 8.3.21, 8.3.39 and 8.3.41).
const (
	cursorHome = "\x1b[H"
	eraseLine  = "\x1b[K" // from the cursor on
	eraseBelow = "\x1b[J"
)

// draw shows lines in place of those before. On a terminal they are cut where
// there is no more room.
func (s *screen) draw(lines []string) error {
	var b strings.Builder
	height, width, terminal := s.size()
	switch {
	case !terminal && s.drawn:
		b.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	case !terminal:
		b.WriteString(strings.Join(lines, "\n") + "\n")
	default:
		if !s.drawn {
			b.WriteString(cursorHome + eraseBelow)
		}
		b.WriteString(cursorHome)
		if room := height - 2; room > 0 && len(lines) > room+1 {
			lines = append(lines[:room:room], fmt.Sprintf("and %d more", len(lines)-room))
		}
		for _, line := range lines {
			b.WriteString(cut(line, width) + eraseLine + "\n")
		}
		b.WriteString(eraseBelow)
	}
	s.drawn = true
	_, err := io.WriteString(s.w, b.String())
	return err
}

// cut makes a line as long as there is room for; 0 columns are not known.
func cut(line string, columns int) string {
	if columns == 0 || utf8.RuneCountInString(line) <= columns {
		return line
	}
	return string([]rune(line)[:columns])
}
