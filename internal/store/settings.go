package store

import (
	"errors"
	"fmt"
	"io/fs"

	"tapgate/internal/settings"
)

// hostName is the name of the host's settings, the only document of its kind.
const hostName = "host"

// Settings are what is set for the host. What cannot be read of them stays where
// it is, and no port is bound meanwhile: the defaults may guard less.
func (v *View) Settings() (settings.Given, error) {
	text, err := v.backend.Read(SettingsKind, hostName)
	if errors.Is(err, fs.ErrNotExist) {
		return settings.Given{}, nil
	}
	if err != nil {
		return nil, err
	}
	place := v.backend.Place(SettingsKind, hostName)
	var n note
	if _, err := fmt.Sscanf(string(text), settingsForm, &n.Form); err == nil {
		if err := n.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
	}
	return settings.ParseGiven(text, place)
}

// settingsForm is the first line, a comment, which notes the form of the rest.
const settingsForm = "# form %d\n"

// Set keeps the host's settings in the place of those before. Ports that are
// bound have them once they are bound again.
func (u *Update) Set(g settings.Given, enforce func() error) error {
	text := append(fmt.Appendf(nil, settingsForm, documentForm), g.Format()...)
	c, err := u.writing(SetOp, SettingsKind, hostName, text)
	switch {
	case err != nil:
		return err
	case !c.changes() && enforce != nil:
		return enforce()
	case !c.changes():
		return nil
	}
	return u.commit(enforce, c)
}
