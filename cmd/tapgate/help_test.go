package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandTeaches(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			visit(below)
		}
		if c.Parent() != nil && c.Parent().Name() == "completion" {
			return // their text is cobra's, with examples in it
		}
		if c.Long == "" || !strings.Contains(c.Example, "tapgate") {
			t.Errorf("%s: its help has no text or no example", c.CommandPath())
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its line in the list is %q", c.CommandPath(), c.Short)
		}
	}
	visit(newRootCommand(&tool{}))
}
