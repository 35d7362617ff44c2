package agent

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tapgate/internal/datapath"
	"tapgate/internal/store"
)

// TestPortsEndUpAsTheyAreWanted lets devices come, go and change names, filters
// and bindings change, ports refuse what they should enforce, and looks be missed.
// Whatever came before, one look at everything makes every port as it should be,
// and another finds nothing to do.
func TestPortsEndUpAsTheyAreWanted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := &DaemonOptions{}
		if rapid.Bool().Draw(rt, "default filter") {
			o.Default = &DefaultFilter{Filter: "d", Patterns: []string{"tap*"}}
		}
		k := newKit(t, o)
		k.store = store.New(store.NewFiles(filepath.Join(t.TempDir(), "state")))
		names := []string{"tap0", "tap1", "vnet0", "vnet1", "vnet2"}
		filters := []string{"a", "b", "d"}
		name := rapid.SampledFrom(names)
		text := func(filter string) string {
			return filterDoc(filter, rule(fmt.Sprintf("<tcp dstportstart='%d'/>", rapid.IntRange(1, 9).Draw(rt, "port"))))
		}
		for _, f := range filters {
			k.mustDefine(text(f))
		}
		actions := map[string]func(){
			"add": func() {
				if n := name.Draw(rt, "name"); k.host.devices[n].Index == 0 {
					k.host.add(n)
				}
			},
			"remove": func() { k.host.remove(name.Draw(rt, "name")) },
			"rename": func() {
				from, to := name.Draw(rt, "from"), name.Draw(rt, "to")
				if k.host.devices[from].Index != 0 && k.host.devices[to].Index == 0 {
					k.host.rename(from, to)
				}
			},
			"bind":   func() { _, _ = k.bindTo(name.Draw(rt, "name"), rapid.SampledFrom(filters).Draw(rt, "filter")) },
			"unbind": func() { _ = k.Unbind(t.Context(), alice, name.Draw(rt, "name")) },
			"define": func() { _, _ = k.define(text(rapid.SampledFrom(filters).Draw(rt, "filter"))) },
			"refuse": func() { k.host.refuse[name.Draw(rt, "name")] = errors.New("not now") },
			"break":  func() { k.host.broken[name.Draw(rt, "name")] = errors.New("not now") },
			"allow":  func() { clear(k.host.refuse); clear(k.host.broken) },
			"take off": func() {
				if p := k.host.ports[name.Draw(rt, "name")]; p != nil && p.Ifindex != 0 {
					p.State = datapath.Unguarded
				}
			},
			"event": func() { k.look(false) },
			"look":  func() { k.look(true) },
		}
		kinds := rapid.SampledFrom(slices.Sorted(maps.Keys(actions)))
		for range rapid.IntRange(1, 40).Draw(rt, "actions") {
			actions[kinds.Draw(rt, "action")]()
		}
		k.look(true)
		checkAll(rt, k, names)
		k.quiet()
	})
}

// checkAll holds every port against what is stored and what devices there are.
func checkAll(rt *rapid.T, k *kit, names []string) {
	bindings, _, err := k.Bindings(k.Context())
	if err != nil {
		rt.Fatal(err)
	}
	bound := map[string]string{}
	for _, b := range bindings {
		bound[b.Port] = b.Filter
	}
	for _, name := range names {
		dev, there := k.host.devices[name]
		port, filter := k.host.ports[name], bound[name]
		if filter == "" && k.defaultFilter().covers(name) {
			filter = "d"
		}
		switch {
		case !there && port != nil:
			rt.Errorf("%s has no device, and is %+v", name, port)
		case !there || filter == "":
		case port == nil || port.Ifindex != dev.Index:
			rt.Errorf("%s is open: %+v", name, port)
		case k.host.refuse[name] == nil && k.host.broken[name] == nil && (port.State != datapath.Guarded || port.Filter != filter):
			rt.Errorf("%s should be guarded by %s, and is %s by %q", name, filter, port.State, port.Filter)
		case port.State != datapath.Guarded && k.fault(name) == "":
			rt.Errorf("%s is %s, and nothing is said of it", name, port.State)
		case port.State == datapath.Guarded && port.Filter == filter && k.host.refuse[name] == nil && k.host.broken[name] == nil && k.fault(name) != "":
			rt.Errorf("%s is guarded, and reported: %s", name, k.fault(name))
		case k.gate != nil && k.defaultFilter().covers(name) && !k.gate.admitted[dev.Index]:
			rt.Errorf("%s is guarded, and the gate is not open for it", name)
		}
	}
}
