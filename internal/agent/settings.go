package agent

import (
	"context"

	"tapgate/internal/datapath"
	"tapgate/internal/settings"
	"tapgate/internal/store"
	"tapgate/nwfilter"
)

// Settings are those in force at a port, or the host's for "".
func (a *Agent) Settings(ctx context.Context, port string) (values settings.Values, err error) {
	if port == "" {
		err = a.store.View(ctx, func(v *store.View) error {
			given, err := v.Settings()
			if err == nil {
				values, err = settings.Resolve(given, nil)
			}
			return err
		})
		return values, err
	}
	d, err := a.open()
	if err != nil {
		return nil, err
	}
	ports, err := d.Survey(ctx, port)
	switch {
	case err != nil:
		return nil, err
	case len(ports) == 0:
		return nil, &datapath.NotGuardedError{Port: port}
	}
	return ports[0].Settings.Whole(), nil
}

// Set changes settings of the host, or of a port if that is not "", and puts them
// in force at all ports, or at none if one cannot take them.
func (a *Agent) Set(ctx context.Context, by store.Actor, port string, list []settings.Assignment) (*SettingsChange, error) {
	done := &SettingsChange{}
	var err error
	done.Notes, err = a.update(ctx, by, func(u *store.Update) error {
		if port != "" {
			return a.setPort(ctx, u, done, port, list)
		}
		return a.setHost(ctx, u, done, list)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// setPort changes the parameters of the port's binding and binds it again.
func (a *Agent) setPort(ctx context.Context, u *store.Update, done *SettingsChange, port string, list []settings.Assignment) error {
	b, err := u.Binding(port)
	if err != nil {
		return err
	}
	for _, set := range list {
		b.Parameters = withSetting(b.Parameters, set)
	}
	bound, err := a.bind(ctx, u, b, nil)
	if err != nil {
		return err
	}
	change := PortChange{Port: port, Result: PortUpdated, Notes: bound.Notes, Milliseconds: bound.Milliseconds}
	if bound.Waiting {
		change.Result = PortWaiting
	}
	done.Settings, done.Ports = bound.Settings, []PortChange{change}
	return nil
}

// withSetting gives parameters in which an assignment is carried out.
func withSetting(params []nwfilter.Parameter, set settings.Assignment) []nwfilter.Parameter {
	var with []nwfilter.Parameter
	for _, p := range params {
		if p.Name != set.Setting.Name {
			with = append(with, p)
		}
	}
	for _, value := range set.Values {
		with = append(with, nwfilter.Parameter{Name: set.Setting.Name, Value: value})
	}
	return with
}

func (a *Agent) setHost(ctx context.Context, u *store.Update, done *SettingsChange, list []settings.Assignment) error {
	given, err := u.Settings()
	if err != nil {
		return err
	}
	for _, set := range list {
		given = given.With(set)
	}
	if done.Settings, err = settings.Resolve(given, nil); err != nil {
		return err
	}
	t, err := a.planSettings(ctx, u.View, given)
	if err != nil {
		return err
	}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	defer t.discard()
	if err := u.Set(given, t.enforce(ctx)); err != nil {
		return err
	}
	done.Ports = t.changes()
	return nil
}
