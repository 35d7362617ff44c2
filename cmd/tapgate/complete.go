package main

import (
	"context"
	"net"
	"slices"

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
func (t *tool) completePort(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completePorts(c, args, typed)
}

// completePorts completes bound ports, each but once.
func (t *tool) completePorts(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ports []string
	t.view(c, func(v *store.View) {
		list, _, _ := v.Bindings()
		for _, b := range list {
			if !slices.Contains(args, b.Port) {
				ports = append(ports, b.Port)
			}
		}
	})
	return ports, cobra.ShellCompDirectiveNoFileComp
}

// changedNames are the names that the journal has of a kind, or of all.
func (t *tool) changedNames(c *cobra.Command, args []string, kinds ...store.Kind) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		t.view(c, func(v *store.View) {
			entries, _, _ := v.History()
			for _, e := range entries {
				if slices.Contains(kinds, e.Kind) {
					names = append(names, e.Name)
				}
			}
		})
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// completeChanged completes a port or filter that was changed.
func (t *tool) completeChanged(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.changedNames(c, args, store.FilterKind, store.BindingKind)
}

// completeFormerFilter completes a filter that was changed, defined or not.
func (t *tool) completeFormerFilter(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.changedNames(c, args, store.FilterKind)
}

func anyRevision(r store.Revision) bool    { return r.Kept }
func formerRevision(r store.Revision) bool { return r.Kept && !r.Current }

// completeRevision completes a revision of the filter that is the argument.
func (t *tool) completeRevision(keep func(store.Revision) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var found []string
		if len(args) > 0 {
			t.view(c, func(v *store.View) {
				list, _ := v.Revisions(args[0])
				for _, r := range list {
					if keep(r) {
						found = append(found, cobra.CompletionWithDesc(store.Short(r.Digest), r.Summary))
					}
				}
			})
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
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
