// Package builtin holds the 24 filters that libvirt installs, which everybody's
// filters refer to, and those for IPv6 that it lacks. They have no special
// status: a stored filter of the same name takes a built-in one's place.
package builtin

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"tapgate/nwfilter"
)

//go:embed filters/*.xml
var files embed.FS

// load reads the embedded files once. They are part of the program, so a fault
// in one is a fault of the program.
var load = sync.OnceValue(func() map[string]*nwfilter.Filter {
	entries, err := files.ReadDir("filters")
	if err != nil {
		panic(err)
	}
	filters := make(map[string]*nwfilter.Filter, len(entries))
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".xml")
		f, diagnostics := nwfilter.Parse(source(name), name+" (built in)", nwfilter.Options{})
		if f == nil || f.Name != name {
			panic(fmt.Sprintf("built-in filter %s: %v", name, diagnostics))
		}
		filters[name] = f
	}
	return filters
})

// Names returns the names of the built-in filters in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(load())) }

// Get returns a built-in filter, or nil. It is shared and must not be changed.
func Get(name string) *nwfilter.Filter { return load()[name] }

// All returns the built-in filters in the order of their names.
func All() []*nwfilter.Filter {
	var all []*nwfilter.Filter
	for _, name := range Names() {
		all = append(all, Get(name))
	}
	return all
}

// Source returns the text of a built-in filter with its comments, "" if there
// is no such filter.
func Source(name string) string {
	if Get(name) == nil {
		return ""
	}
	return string(source(name))
}

func source(name string) []byte {
	text, err := files.ReadFile("filters/" + name + ".xml")
	if err != nil {
		panic(err)
	}
	return text
}
