package main

import (
	"context"
	"net"

	"github.com/spf13/cobra"

	"tapgate/internal/store"
)

// Completions stay silent when something cannot be read.

// view reads the store for a completion.
func (t *tool) view(c *cobra.Command, fn func(*store.View)) {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	_ = t.store().View(ctx, func(v *store.View) error {
		fn(v)
		return nil
	})
}

// filterNames completes the names of filters that keep accepts.
func (t *tool) filterNames(c *cobra.Command, keep func(*store.Filter) bool) []string {
	var names []string
	t.view(c, func(v *store.View) {
		list, _, _ := v.Filters()
		for _, f := range list {
			if keep(f) {
				names = append(names, f.Name)
			}
		}
	})
	return names
}

func anyFilter(*store.Filter) bool      { return true }
func storedFilter(f *store.Filter) bool { return !f.BuiltIn }

// completeFilter completes one name of a filter, and nothing after it.
func (t *tool) completeFilter(keep func(*store.Filter) bool, directive cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return t.filterNames(c, keep), directive
	}
}

// completeFilterFlag completes NAME|FILE.
func (t *tool) completeFilterFlag(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.filterNames(c, anyFilter), cobra.ShellCompDirectiveDefault
}

// completePort completes a bound port.
func (t *tool) completePort(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ports []string
	if len(args) == 0 {
		t.view(c, func(v *store.View) {
			list, _, _ := v.Bindings()
			for _, b := range list {
				ports = append(ports, b.Port)
			}
		})
	}
	return ports, cobra.ShellCompDirectiveNoFileComp
}

// completeDevice completes any network device.
func completeDevice(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		devices, _ := net.Interfaces()
		for _, d := range devices {
			names = append(names, d.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeXML completes files that may hold documents.
func completeXML(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"xml"}, cobra.ShellCompDirectiveFilterFileExt
}
