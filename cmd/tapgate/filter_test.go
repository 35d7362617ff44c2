package main

import (
	"errors"
	"testing"
)

// A change of a filter is in force at once at all ports that lead to it.
func TestFilterChangesReachPorts(t *testing.T) {
	s := newSession(t)
	v1 := s.file("v1.xml", "<filter name='base'><rule action='drop' direction='in'><tcp/></rule></filter>")
	v2 := s.file("v2.xml", "<filter name='base'><rule action='drop' direction='in'><udp/></rule><rule action='drop' direction='in'><icmp/></rule></filter>")
	s.ok("filter define " + v1)
	s.ok("filter define " + s.file("top.xml", "<filter name='top'><filterref filter='base'/></filter>"))
	s.ok("bind vnet0 --filter base" + guest)
	s.ok("bind vnet1 --filter top" + guest)
	s.ok("bind vnet2 --filter no-mac-spoofing" + guest)
	rules := s.rules["vnet0"]

	out, said := s.ok("filter define --dry-run " + v2)
	if want := "filter base can be defined\nport vnet0 would be updated\nport vnet1 would be updated\n"; out != want || said != "" {
		t.Errorf("a dry run says %q and %q, want %q", out, said, want)
	}
	s.refuse["vnet1"] = errors.New("no room")
	for _, line := range []string{"filter define " + v2, "filter define --dry-run " + v2} {
		s.fails(line, "tapgate: nothing is changed: 1 port cannot take filter base\ntapgate: port vnet1: no room\n")
	}
	if s.rules["vnet0"] != rules {
		t.Error("a port was changed and another was not")
	}
	delete(s.refuse, "vnet1")
	out, said = s.ok("filter define " + v2)
	if want := "filter base replaced\nport vnet0 updated\nport vnet1 updated\n"; out != want || said != "" {
		t.Errorf("it says %q and %q, want %q", out, said, want)
	}
	if s.rules["vnet0"] == rules || s.rules["vnet1"] != s.rules["vnet0"] {
		t.Errorf("the ports have %d and %d rules", s.rules["vnet0"], s.rules["vnet1"])
	}
	out, _ = s.ok("filter define " + v2)
	if out != "filter base unchanged\n" {
		t.Errorf("the same again: %q", out)
	}
	out, _ = s.ok("filter rollback base --dry-run")
	s.says(out, "port vnet0 would be updated\nport vnet1 would be updated\n")
	out, _ = s.ok("filter rollback base")
	s.says(out, "\nport vnet0 updated\nport vnet1 updated\n")
	if s.rules["vnet0"] != rules {
		t.Errorf("rolled back, the port has %d rules", s.rules["vnet0"])
	}
	s.fails("filter undefine base", "tapgate: filter \"base\" is in use by filter top, port vnet0; --force removes it nevertheless\n")

	s.fail["vnet1"] = errors.New("no room")
	out = s.fails("filter define "+v2, "tapgate: port vnet1 keeps what it had: no room\n")
	if out != "filter base replaced\nport vnet0 updated\n" {
		t.Errorf("one that fails at the last moment: %q", out)
	}
}
