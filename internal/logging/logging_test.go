package logging

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// say logs a line of each level.
func say(l *slog.Logger) {
	l.Debug("looked", "ports", 3)
	l.Info("guarded", "port", "vnet0")
	l.Warn("the device is another one", "port", "vnet0")
	l.With("port", "vnet1").WithGroup("why").Error("not guarded", "error", "no\nrights", "time", "kept")
}

func TestFormats(t *testing.T) {
	cases := []struct {
		name    string
		journal bool
		format  Format
		level   slog.Level
		want    string // a regular expression a line
	}{
		{"text", false, Text, slog.LevelInfo, `time=\S+ level=INFO msg=guarded port=vnet0
time=\S+ level=WARN msg="the device is another one" port=vnet0
time=\S+ level=ERROR msg="not guarded" port=vnet1 why.error="no\\nrights" why.time=kept`},
		{"text for the journal", true, Text, slog.LevelDebug, `<7>msg=looked ports=3
<6>msg=guarded port=vnet0
<4>msg="the device is another one" port=vnet0
<3>msg="not guarded" port=vnet1 why.error="no\\nrights" why.time=kept`},
		{"only errors for the journal", true, Text, slog.LevelError, `<3>msg="not guarded" .*`},
		{"JSON", false, JSON, slog.LevelWarn, `{"time":"[^"]+","level":"WARN","msg":"the device is another one","port":"vnet0"}
{"time":"[^"]+","level":"ERROR","msg":"not guarded","port":"vnet1","why":{"error":"no\\nrights","time":"kept"}}`},
		{"JSON for the journal", true, JSON, slog.LevelWarn, `<4>{"msg":"the device is another one","port":"vnet0"}
<3>{"msg":"not guarded","port":"vnet1","why":{"error":"no\\nrights","time":"kept"}}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			say(slog.New(newHandler(&b, c.journal, c.format, c.level)))
			if !regexp.MustCompile("^" + c.want + "\n$").MatchString(b.String()) {
				t.Errorf("got\n%swant\n%s", b.String(), c.want)
			}
		})
	}
}

func TestTheJournalIsKnownByItsFile(t *testing.T) {
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	stream, elsewhere := open("stream"), open("elsewhere")
	var stat unix.Stat_t
	if err := unix.Fstat(int(stream.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", "")
	if IsJournal(stream) {
		t.Error("the journal though the environment names none")
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	if !IsJournal(stream) || IsJournal(elsewhere) {
		t.Error("the stream is not the journal, or another file is")
	}
	New(stream, Text, slog.LevelInfo).Warn("seen")
	if b, err := os.ReadFile(stream.Name()); err != nil || string(b) != "<4>msg=seen\n" {
		t.Errorf("the stream has %q, %v", b, err)
	}
}

// TestLinesOfTheJournalDoNotMix has several levels write at once.
func TestLinesOfTheJournalDoNotMix(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "stream"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := slog.New(newHandler(f, true, Text, slog.LevelDebug))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				say(l)
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		if lines++; !regexp.MustCompile(`^<[3467]>msg=[^<]*\n$`).MatchString(line) {
			t.Fatalf("%q", line)
		}
	}
	if lines != 4*50*4 {
		t.Errorf("%d lines, want %d", lines, 4*50*4)
	}
}

func TestNamesOfFormatsAndLevels(t *testing.T) {
	if f, err := ParseFormat("json"); f != JSON || err != nil {
		t.Errorf("json: %v, %v", f, err)
	}
	if _, err := ParseFormat("xml"); err == nil || err.Error() != `there is no log format "xml"; expected text or json` {
		t.Errorf("xml: %v", err)
	}
	if l, err := ParseLevel("warn"); l != slog.LevelWarn || err != nil {
		t.Errorf("warn: %v, %v", l, err)
	}
	if _, err := ParseLevel("loud"); err == nil || err.Error() != `there is no log level "loud"; expected debug, info, warn or error` {
		t.Errorf("loud: %v", err)
	}
}
