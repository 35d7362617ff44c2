package lab

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestAProgramRunsInTheGuestAndEndsWithTheLab(t *testing.T) {
	l := newLab(t)
	shown, err := l.Run(l.Guest, exec.Command("sh", "-c", "cat /proc/net/dev; echo to standard error >&2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := shown.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{GuestDevice + ":", "to standard error"} {
		if !strings.Contains(shown.Output(), text) {
			t.Errorf("%q is missing in\n%s", text, shown.Output())
		}
	}
	failed, err := l.Run(l.Guest, exec.Command("sh", "-c", "echo because; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := failed.Wait(t.Context()); err == nil || err.Error() != "sh: exit status 3:\nbecause\n" {
		t.Errorf("got %v", err)
	}
	// A program that does not end, with a child that does not either.
	endless, err := l.Run(l.Guest, exec.Command("sh", "-c", "sleep 1000 & trap '' TERM; wait; sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := endless.Wait(short); !NoAnswer(err) {
		t.Errorf("got %v", err)
	}
	l.Close()
	if err := endless.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("got %v", err)
	}
	if _, err := l.Run(l.Guest, exec.Command("true")); err == nil {
		t.Error("a program ran in a closed lab")
	}
}

func TestListeningWaitsForTheServer(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for network, at := range map[string]uint16{"tcp": HTTPPort, "udp": DNSPort} {
		guest := l.Guest
		if network == "udp" {
			guest = l.Neighbour
		}
		if err := guest.Listening(ctx, network, at); err != nil {
			t.Error(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := l.Guest.Listening(short, "tcp", ClosedPort); !NoAnswer(err) {
		t.Errorf("got %v", err)
	}
}
