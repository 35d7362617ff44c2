package lab

import (
	"fmt"
	"os/exec"
)

// MissingError says that a program, which others have written, is not installed.
type MissingError struct {
	Program string
	// Package is Debian's, in which it is.
	Package string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("needs %s (Debian: apt-get install %s)", e.Program, e.Package)
}

// find gives the path of a program of a package; a *MissingError if it is not installed.
func find(program, pkg string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", &MissingError{program, pkg}
	}
	return path, nil
}
