package main

import (
	"context"
	"fmt"
	"slices"

	"tapgate/internal/datapath"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// settingsChange puts values in force.
type settingsChange struct {
	*tool
	update      *store.Update
	assignments []settings.Assignment
	names       map[string]bool
	asJSON      bool
}

// changeSettings stores values, the host's or a port's, and puts them in force,
// all under the store's lock.
func (t *tool) changeSettings(ctx context.Context, port string, assignments []settings.Assignment, names map[string]bool, asJSON bool) error {
	return t.update(ctx, func(u *store.Update) error {
		c := &settingsChange{t, u, assignments, names, asJSON}
		if port != "" {
			return c.ofPort(ctx, port)
		}
		return c.ofHost(ctx)
	})
}

// ofPort changes the parameters of the port's binding and binds it again.
func (c *settingsChange) ofPort(ctx context.Context, port string) error {
	want, err := c.update.Binding(port)
	if err != nil {
		return err
	}
	for _, a := range c.assignments {
		want.Parameters = slices.DeleteFunc(want.Parameters, func(p nwfilter.Parameter) bool { return p.Name == a.Setting.Name })
		for _, value := range a.Values {
			want.Parameters = append(want.Parameters, nwfilter.Parameter{Name: a.Setting.Name, Value: value})
		}
	}
	h, err := c.openHost(c.bpffs)
	if err != nil {
		return err
	}
	one, err := c.binder(h).bind(ctx, want)
	if err != nil {
		return err
	}
	return c.print(one.settings, []bound{one})
}

// ofHost stores the values, and then binds the ports again.
func (c *settingsChange) ofHost(ctx context.Context) error {
	given, err := c.update.Settings()
	if err != nil {
		return err
	}
	for _, a := range c.assignments {
		given = given.With(a)
	}
	values, err := settings.Resolve(given, nil)
	if err != nil {
		return err
	}
	if err := c.update.Set(given, nil); err != nil {
		return err
	}
	bindings, faults, err := c.update.Bindings()
	if err != nil {
		return err
	}
	done, failed, err := c.bindAgain(ctx, bindings)
	if err != nil {
		return fmt.Errorf("the settings are stored, but not in force at the bound ports: %w", err)
	}
	if err := c.print(values, done); err != nil {
		return err
	}
	return c.report(append(faults, failed...))
}

func (c *settingsChange) binder(h host) *binder {
	return &binder{tool: c.tool, host: h, update: c.update, resolver: &resolver{view: c.update.View}}
}

// bindAgain binds the ports that are guarded now.
func (c *settingsChange) bindAgain(ctx context.Context, bindings []*binding.Binding) (done []bound, failed []error, err error) {
	if len(bindings) == 0 {
		return nil, nil, nil
	}
	h, err := c.openHost(c.bpffs)
	if err != nil {
		return nil, nil, err
	}
	ports, err := h.Ports(ctx)
	if err != nil {
		return nil, nil, err
	}
	line := c.newProgress()
	for i, stored := range bindings {
		if !isGuarded(ports, stored.Port) {
			fmt.Fprintf(c.stderr, "note: port %s is not guarded; it has the settings once it is bound\n", stored.Port)
			continue
		}
		line.show("binding again: %d of %s …", i+1, plural(len(bindings), "port"))
		one, err := c.binder(h).bind(ctx, stored)
		line.clear()
		if err != nil {
			failed = append(failed, fmt.Errorf("port %s keeps what it had: %w", stored.Port, err))
			continue
		}
		done = append(done, one)
	}
	return done, failed, nil
}

// isGuarded tells whether a port's programs are in force.
func isGuarded(ports []datapath.Port, name string) bool {
	return slices.ContainsFunc(ports, func(p datapath.Port) bool {
		return p.Name == name && (p.State == datapath.Guarded || p.State == datapath.HalfSwapped)
	})
}

// print tells the values that were set and the ports that have them.
func (c *settingsChange) print(values settings.Values, ports []bound) error {
	shown := showSettings(values, c.names)
	if c.asJSON {
		return c.printJSON(struct {
			Settings []settingShown `json:"settings"`
			Ports    []bound        `json:"ports"`
		}{shown, append([]bound{}, ports...)})
	}
	c.printSettings(shown)
	for i := range ports {
		ports[i].print(c.tool)
	}
	return nil
}
