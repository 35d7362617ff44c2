package main

import (
	"fmt"

	"tapgate/client"
)

func (t *tool) printNotes(notes []string) {
	for _, note := range notes {
		fmt.Fprintf(t.stderr, "note: %s\n", note)
	}
}

// printPortChanges tells what a change did to ports, without those that enforce the
// same as before, and whether any failed. With JSON only what is for people remains.
func (t *tool) printPortChanges(ports []client.PortChange, asJSON bool) (failed bool) {
	say := func(format string, args ...any) {
		if !asJSON {
			fmt.Fprintf(t.stdout, format, args...)
		}
	}
	for _, p := range ports {
		switch p.Result {
		case client.PortUpdated:
			say("port %s updated\n", p.Port)
		case client.PortPlanned:
			say("port %s would be updated\n", p.Port)
		case client.PortWaiting:
			say("port %s waits for its device\n", p.Port)
		case client.PortSkipped:
			fmt.Fprintf(t.stderr, "note: port %s: %s\n", p.Port, p.Detail)
		case client.PortFailed:
			t.complain(fmt.Errorf("port %s keeps what it had: %s", p.Port, p.Detail))
			failed = true
		}
		for _, note := range p.Notes {
			fmt.Fprintf(t.stderr, "note: port %s: %s\n", p.Port, note)
		}
	}
	return failed
}
