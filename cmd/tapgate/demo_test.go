package main

import (
	"bytes"
	"os"
	"testing"
)

func TestColoursAreForTerminalsOnly(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !showsColors(terminal) {
		t.Error("no colours on a terminal")
	}
	if showsColors(&bytes.Buffer{}) {
		t.Error("colours in a buffer")
	}
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if showsColors(file) {
		t.Error("colours in a file")
	}
	t.Setenv("TERM", "dumb")
	if showsColors(terminal) {
		t.Error("colours on a dumb terminal")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if showsColors(terminal) {
		t.Error("colours despite NO_COLOR")
	}
}
