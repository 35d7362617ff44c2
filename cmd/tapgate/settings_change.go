package main

import (
	"context"

	"tapgate/client"
)

// changeSettings sets values of the host, or of a port, and tells which ports have
// them.
func (t *tool) changeSettings(ctx context.Context, port string, assignments []client.Assignment, names map[string]bool, asJSON bool) error {
	ask, err := t.clientToChange(ctx)
	if err != nil {
		return err
	}
	done, err := ask.Set(ctx, port, assignments)
	if err != nil {
		return err
	}
	shown := showSettings(done.Settings, names)
	if asJSON {
		err = t.printJSON(struct {
			Settings []settingShown      `json:"settings"`
			Ports    []client.PortChange `json:"ports"`
		}{shown, append([]client.PortChange{}, done.Ports...)})
	} else {
		t.printSettings(shown)
	}
	if err != nil {
		return err
	}
	t.printNotes(done.Notes)
	if t.printPortChanges(done.Ports, asJSON) {
		return errFaults
	}
	return nil
}
