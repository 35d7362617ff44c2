package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestABindingWaitsForItsDevice(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("a", rule("<tcp/>")))
	bound, err := k.bindTo("vnet0", "a")
	if err != nil || !bound.Waiting {
		t.Fatalf("bound %+v, %v", bound, err)
	}
	k.stands("vnet0", "waiting a")
	k.host.add("vnet0")
	k.look(false)
	k.stands("vnet0", "guarded a")
	k.quiet()
	k.host.remove("vnet0")
	k.look(false)
	k.stands("vnet0", "waiting a")
	k.host.add("vnet0")
	k.look(false)
	k.stands("vnet0", "guarded a")
	k.quiet()
}

func TestADeviceThatWasMadeAnewUnseen(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.host.add("vnet0")
	k.mustBind("vnet0", "no-mac-spoofing")
	k.look(true)
	k.host.remove("vnet0")
	k.host.add("vnet0")
	k.look(false)
	k.stands("vnet0", "guarded no-mac-spoofing")
	k.quiet()
}

func TestRenamedDevices(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("a", rule("<tcp/>")))
	k.mustDefine(filterDoc("b", rule("<udp/>")))
	k.host.add("vnet0")
	k.mustBind("vnet0", "a")
	k.look(true)
	k.host.rename("vnet0", "web")
	k.look(false)
	k.stands("vnet0", "waiting a")
	k.stands("web", "guarded a") // it has no binding, and keeps what it has
	k.quiet()

	k.host.add("vnet0")
	k.look(false)
	k.stands("vnet0", "guarded a")
	k.stands("web", "guarded a")

	// Two devices exchange their names, of which both are bound.
	k.mustBind("web", "b")
	k.host.rename("web", "tmp")
	k.host.rename("vnet0", "web")
	k.host.rename("tmp", "vnet0")
	k.look(false)
	k.stands("web", "guarded b")
	k.stands("vnet0", "guarded a")
	k.quiet()
}

func TestWhatSomebodyTookOffIsPutBack(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.host.add("vnet0")
	k.mustBind("vnet0", "no-mac-spoofing")
	k.look(true)
	k.host.ports["vnet0"].State = "unguarded"
	k.look(true)
	k.stands("vnet0", "guarded no-mac-spoofing")
	k.quiet()
}

func TestABindingThatCannotBeEnforced(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("a", rule("<ip srcipaddr='$IP'/>")))
	for _, port := range []string{"vnet0", "vnet1", "vnet2"} {
		k.mustBind(port, "a", "IP=10.0.0.1")
	}
	k.host.refuse["vnet1"] = errors.New("the kernel's verifier refused the program")
	for _, port := range []string{"vnet0", "vnet1", "vnet2"} {
		k.host.add(port)
	}
	if err := os.WriteFile(filepath.Join(k.dir, "bindings", "vnet2.xml"), []byte("<filterbinding"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.look(true)
	k.stands("vnet0", "guarded a")
	k.stands("vnet1", "shut a")
	status := k.Status(t.Context()).Daemon
	faults := strings.Join(status.Faults, "\n")
	for _, want := range []string{
		"port vnet1: the kernel's verifier refused the program; it is shut: nothing passes",
		`the stored binding of "vnet2" cannot be read`,
	} {
		if !strings.Contains(faults, want) {
			t.Errorf("the faults are %q, want %q", faults, want)
		}
	}
	if status.Ports["guarded"] != 1 || status.Ports["shut"] != 1 {
		t.Errorf("states %v", status.Ports)
	}
	delete(k.host.refuse, "vnet1")
	k.look(true)
	k.stands("vnet1", "guarded a")
	if faults := k.Status(t.Context()).Daemon.Faults; len(faults) != 1 {
		t.Errorf("faults %q are left", faults)
	}
	if !strings.Contains(k.log.String(), "as it should be again") {
		t.Error("the log says nothing of it")
	}
}

func TestWhatIsInForceStaysIfTheBindingCannotBe(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("a", rule("<tcp/>")))
	k.host.add("vnet0")
	k.mustBind("vnet0", "a")
	k.look(true)
	if _, err := k.Undefine(t.Context(), alice, "a", true); err != nil {
		t.Fatal(err)
	}
	k.look(true)
	k.stands("vnet0", "guarded a")
	if fault := k.fault("vnet0"); !strings.Contains(fault, `filter "a" is not defined`) || !strings.Contains(fault, "it keeps what it enforces") {
		t.Errorf("fault %q", fault)
	}
}

func TestAPortThatCannotBeShutIsReportedAsOpen(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	k.mustBind("vnet0", "no-mac-spoofing")
	k.host.refuse["vnet0"] = errors.New("no memory")
	k.host.unshuttable["vnet0"] = errors.New("no memory either")
	k.host.add("vnet0")
	k.look(false)
	if fault := k.fault("vnet0"); fault != "no memory; it is OPEN, since it could not be shut: no memory either" {
		t.Errorf("fault %q", fault)
	}
	if !strings.Contains(k.log.String(), "level=ERROR") {
		t.Errorf("the log is %q", k.log)
	}
}

func TestTheDefaultFilter(t *testing.T) {
	d := &DaemonOptions{Default: &DefaultFilter{Filter: "closed", Patterns: []string{"vnet*"}}}
	k := newKit(t, d)
	k.mustDefine(filterDoc("closed", "<rule action='drop' direction='inout'><all/></rule>"))
	k.mustDefine(filterDoc("a", rule("<tcp/>")))
	k.host.add("eth0")
	k.host.add("vnet0")
	k.look(true)
	k.stands("vnet0", "guarded closed")
	k.stands("eth0", "none")
	if len(k.gate.admitted) != 1 || !k.gate.admitted[k.host.devices["vnet0"].Index] {
		t.Errorf("admitted %v", k.gate.admitted)
	}
	k.look(false) // of something that is no change of devices
	if len(k.gate.admitted) != 1 || k.Status(t.Context()).Daemon.Ports["guarded"] != 1 {
		t.Errorf("admitted %v, states %v", k.gate.admitted, k.Status(t.Context()).Daemon.Ports)
	}
	ports, _, _ := k.Ports(t.Context())
	if len(ports) != 1 || !ports[0].Default || ports[0].Bound {
		t.Errorf("ports %+v", ports)
	}

	k.mustBind("vnet0", "a")
	k.stands("vnet0", "guarded a")
	k.quiet()
	if err := k.Unbind(t.Context(), alice, "vnet0"); err != nil {
		t.Fatal(err)
	}
	k.stands("vnet0", "guarded closed")
	for _, call := range k.host.calls {
		if strings.HasPrefix(call, "release") {
			t.Errorf("the port was open for a moment: %v", k.host.calls)
		}
	}

	if _, err := k.Undefine(t.Context(), alice, "closed", false); err == nil || err.Error() != `filter "closed" is in use by port vnet* without a binding` {
		t.Errorf("undefining the default filter: %v", err)
	}

	// Another text of the default filter reaches the devices that have it.
	done := k.mustDefine(filterDoc("closed", "<rule action='drop' direction='inout'><tcp/></rule>"))
	if len(done.Ports) != 1 || done.Ports[0].Port != "vnet0" || done.Ports[0].Result != PortUpdated {
		t.Errorf("ports %+v", done.Ports)
	}
	index := k.host.devices["vnet0"].Index
	k.host.remove("vnet0")
	k.look(false)
	if k.gate.admitted[index] {
		t.Error("the index of a device that is gone is still admitted")
	}
	k.stands("vnet0", "none")
	k.quiet()
}

func TestADefaultFilterThatAsksForTheGuest(t *testing.T) {
	for filter, want := range map[string]string{"no-mac-spoofing": "$MAC has no value", "clean-traffic": "$IP has no value", "nosuch": "not defined"} {
		k := newKit(t, &DaemonOptions{Default: &DefaultFilter{Filter: filter, Patterns: []string{"tap*"}}})
		k.host.add("tap1")
		k.look(true)
		k.stands("tap1", "shut")
		if fault := k.fault("tap1"); !strings.Contains(fault, want) {
			t.Errorf("%s: fault %q", filter, fault)
		}
	}
}

func TestUnbinding(t *testing.T) {
	k := newKit(t, &DaemonOptions{})
	if err := k.Unbind(t.Context(), alice, "vnet0"); err == nil || !isNotFound(err) {
		t.Errorf("unbinding nothing: %v", err)
	}
	k.mustBind("vnet0", "no-mac-spoofing")
	if err := k.Unbind(t.Context(), alice, "vnet0"); err != nil {
		t.Error(err)
	}
	k.host.add("vnet0")
	k.look(true)
	k.stands("vnet0", "none")
	if states := k.Status(t.Context()).Daemon.Ports; len(states) != 0 {
		t.Errorf("states %v", states)
	}
}
