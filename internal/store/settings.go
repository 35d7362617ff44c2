package store

import (
	"errors"
	"io/fs"

	"tapgate/internal/settings"
)

// hostName is the name of the host's settings, the only document of its kind.
const hostName = "host"

// Settings are what is set for the host.
func (v *View) Settings() (settings.Given, error) {
	text, err := v.backend.Read(SettingsKind, hostName)
	if errors.Is(err, fs.ErrNotExist) {
		return settings.Given{}, nil
	}
	if err != nil {
		return nil, err
	}
	return settings.ParseGiven(text, v.backend.Place(SettingsKind, hostName))
}

// Set keeps the host's settings in the place of those before. Ports that are
// bound have them once they are bound again.
func (u *Update) Set(g settings.Given) error {
	return u.backend.Write(SettingsKind, hostName, g.Format())
}
