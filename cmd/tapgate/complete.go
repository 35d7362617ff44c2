package main

import (
	"context"
	"net"
	"slices"

	"github.com/spf13/cobra"

	"tapgate/client"
	"tapgate/internal/store"
)

// Completions stay silent when something cannot be read.

// completing gives a completion whom to ask; nil where nobody can be asked.
func (t *tool) completing(c *cobra.Command) (context.Context, *client.Client) {
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ask, err := t.client(ctx)
	if err != nil {
		return ctx, nil
	}
	return ctx, ask
}

// filterNames completes the names of filters that keep accepts.
func (t *tool) filterNames(c *cobra.Command, keep func(*client.FilterInfo) bool) []string {
	ctx, ask := t.completing(c)
	if ask == nil {
		return nil
	}
	list, err := ask.Filters(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for i := range list.Filters {
		if keep(&list.Filters[i]) {
			names = append(names, list.Filters[i].Name)
		}
	}
	return names
}

func anyFilter(*client.FilterInfo) bool      { return true }
func storedFilter(f *client.FilterInfo) bool { return !f.BuiltIn }

// completeFilter completes one name of a filter, and nothing after it.
func (t *tool) completeFilter(keep func(*client.FilterInfo) bool, directive cobra.ShellCompDirective) cobra.CompletionFunc {
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
	ctx, ask := t.completing(c)
	if ask == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ports []string
	if list, err := ask.Bindings(ctx); err == nil {
		for _, b := range list.Bindings {
			if !slices.Contains(args, b.Port) {
				ports = append(ports, b.Port)
			}
		}
	}
	return ports, cobra.ShellCompDirectiveNoFileComp
}

// completeLease completes a bound port, and then one of its leases that keep accepts.
func (t *tool) completeLease(keep func(*client.Lease) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return t.completePort(c, args, typed)
		}
		var found []string
		if ctx, ask := t.completing(c); ask != nil {
			if list, err := ask.Leases(ctx, args[0]); err == nil {
				for i := range list.Leases {
					if l := &list.Leases[i]; keep(l) {
						found = append(found, cobra.CompletionWithDesc(l.Address, l.Source))
					}
				}
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func anyLease(*client.Lease) bool        { return true }
func pinnedLease(l *client.Lease) bool   { return l.Pinned }
func unpinnedLease(l *client.Lease) bool { return !l.Pinned }

// changedNames are the names that the journal has of things of some kinds.
func (t *tool) changedNames(c *cobra.Command, args []string, kinds ...string) ([]string, cobra.ShellCompDirective) {
	ctx, ask := t.completing(c)
	if ask == nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	if history, err := ask.History(ctx); err == nil {
		for _, e := range history.Entries {
			if slices.Contains(kinds, e.Kind) {
				names = append(names, e.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// completeChanged completes a port or filter that was changed.
func (t *tool) completeChanged(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.changedNames(c, args, "filter", "port")
}

// completeFormerFilter completes a filter that was changed, defined or not.
func (t *tool) completeFormerFilter(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.changedNames(c, args, "filter")
}

func anyRevision(r client.Revision) bool    { return r.Kept }
func formerRevision(r client.Revision) bool { return r.Kept && !r.Current }

// completeRevision completes a revision of the filter that is the argument.
func (t *tool) completeRevision(keep func(client.Revision) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var found []string
		if ctx, ask := t.completing(c); ask != nil && len(args) > 0 {
			list, _ := ask.Revisions(ctx, args[0])
			for _, r := range list {
				if keep(r) {
					found = append(found, cobra.CompletionWithDesc(store.Short(r.Digest), r.Summary))
				}
			}
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
