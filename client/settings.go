package client

import "context"

// Setting is a setting's value on the host or at a port, and where it comes from.
type Setting struct {
	// Name is in capitals and begins with CTRL_.
	Name string `json:"name"`
	// Value is a number, "yes", "no", "none", or ports with commas between.
	Value string `json:"value"`
	// From is "default", "host" or "port".
	From string `json:"from"`
}

// Assignment gives a setting values. Without any it goes back to its default.
type Assignment struct {
	// Name in any case, with or without CTRL_.
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// SettingsChange is what a change of settings did.
type SettingsChange struct {
	// Settings of the host or the port, all of them.
	Settings []Setting `json:"settings"`
	// Ports are those that the change reached.
	Ports []PortChange `json:"ports"`
	Notes []string     `json:"notes,omitempty"`
}

func settingsOf(port string) []string {
	if port == "" {
		return []string{"settings"}
	}
	return []string{"ports", port, "settings"}
}

// Settings are all settings in force at a port, or those of the host for "".
func (c *Client) Settings(ctx context.Context, port string) ([]Setting, error) {
	var list struct {
		Settings []Setting `json:"settings"`
	}
	err := c.call(ctx, get(settingsOf(port)...), &list)
	return list.Settings, err
}

// Set gives settings of a port, or of the host for "", values, and puts them in force
// at the ports that it concerns.
func (c *Client) Set(ctx context.Context, port string, list []Assignment) (*SettingsChange, error) {
	body := struct {
		Assignments []Assignment `json:"assignments"`
	}{list}
	return ask[SettingsChange](ctx, c, patch(settingsOf(port)...).sending(body))
}
