package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestCommandsThatAlertsNameExist reads what the examples for monitoring tell
// people to run.
func TestCommandsThatAlertsNameExist(t *testing.T) {
	root := newRootCommand(&tool{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard})
	named := regexp.MustCompile("`tapgate ((?:filter |sets )?[a-z]+)")
	for _, path := range []string{"../../examples/monitoring/alerts.yaml", "../../examples/monitoring/grafana-dashboard.json"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		commands := named.FindAllSubmatch(text, -1)
		if len(commands) == 0 {
			t.Errorf("%s names no command", path)
		}
		for _, m := range commands {
			words := strings.Fields(string(m[1]))
			if c, _, err := root.Find(words); err != nil || c.CommandPath() != "tapgate "+string(m[1]) {
				t.Errorf("%s: there is no command %q", path, "tapgate "+string(m[1]))
			}
		}
	}
}
