package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tapgate/internal/datapath"
	"tapgate/internal/settings"
	"tapgate/internal/store"
)

const guest = " --mac 52:54:00:00:00:01 --param IP=10.0.0.5"

// anyDigest leaves out what the agent alone understands.
var anyDigest = cmpopts.IgnoreFields(datapath.Port{}, "Digest")

func TestBindGuardsAndStores(t *testing.T) {
	s := newSession(t)
	out, _ := s.ok("bind vnet0 --filter clean-traffic" + guest + ",10.0.0.6 --param X=1 --param X=2")
	s.says(out, "port vnet0 guarded by filter clean-traffic: ")
	want := datapath.Port{
		Name: "vnet0", State: datapath.Guarded, Filter: "clean-traffic", MAC: "52:54:00:00:00:01",
		Parameters: map[string][]string{"IP": {"10.0.0.5", "10.0.0.6"}, "X": {"1", "2"}}, Settings: settings.Defaults(),
	}
	if diff := cmp.Diff(want, s.ports["vnet0"], anyDigest); diff != "" {
		t.Error(diff)
	}
	if !s.stored("bindings", "vnet0") {
		t.Error("the binding is not stored")
	}
	rules := s.rules["vnet0"]
	out, _ = s.ok("bind vnet0")
	s.says(out, "in the place of clean-traffic")
	if diff := cmp.Diff(want, s.ports["vnet0"], anyDigest); diff != "" || s.rules["vnet0"] != rules {
		t.Errorf("bound again it has %d rules, not %d, %s", s.rules["vnet0"], rules, diff)
	}
}

func TestBindThatFailsStoresNothing(t *testing.T) {
	s := newSession(t)
	s.refuse["vnet0"] = errors.New("there is no network device vnet0")
	filter := s.file("mine.xml", "<filter name='mine'/>")
	s.fails("bind vnet0 --filter "+filter+guest, "tapgate: there is no network device vnet0\n")
	if s.stored("bindings", "vnet0") || s.stored("filters", "mine") {
		t.Error("something is stored")
	}
	s.fails("bind vnet0", `port "vnet0" was not bound before: give --filter and --mac`)
	s.fails("bind vnet0 --filter mine"+guest, `filter "mine" is not defined`)
}

func TestBindThatFailsLeavesWhatWasStored(t *testing.T) {
	s := newSession(t)
	s.ok("bind vnet0 --filter no-mac-spoofing" + guest)
	s.refuse["vnet0"] = errors.New("no room")
	s.fails("bind vnet0 --filter clean-traffic"+guest, "no room")
	delete(s.refuse, "vnet0")
	out, _ := s.ok("bind vnet0")
	s.says(out, "guarded by filter no-mac-spoofing")
}

func TestBindOfAFileDefinesItsFilter(t *testing.T) {
	s := newSession(t)
	path := s.file("mine.xml", "<filter name='mine'><filterref filter='clean-traffic'/></filter>")
	out, _ := s.ok("bind vnet0 --filter " + path + guest)
	s.says(out, "filter mine defined\n")
	s.ok("bind vnet1 --filter mine" + guest)

	path = s.file("mine.xml", "<filter name='mine'/>")
	out, _ = s.ok("bind vnet0 --filter " + path + guest)
	s.says(out, "filter mine replaced\nport vnet1 updated\n")
	if s.rules["vnet0"] != 0 || s.rules["vnet1"] != 0 {
		t.Errorf("the ports have %d and %d rules of the earlier text", s.rules["vnet0"], s.rules["vnet1"])
	}
	out, _ = s.ok("bind vnet0 --json --filter " + path + guest)
	s.says(out, `"what": "unchanged"`)

	loop := s.file("loop.xml", "<filter name='mine'><filterref filter='mine'/></filter>")
	s.fails("bind vnet0 --filter "+loop+guest, "mine → mine")
	if s.rules["vnet0"] != 0 || s.ports["vnet0"].Filter != "mine" {
		t.Error("a filter that may not be defined was put in force")
	}
}

const domain = `<domain>
  <name>vm1</name>
  <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <target dev='vnet0'/>
      <filterref filter='clean-traffic'><parameter name='IP' value='10.0.0.5'/></filterref>
    </interface>
    <interface type='bridge'><mac address='52:54:00:00:00:02'/><target dev='vnet1'/></interface>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:03'/>
      <target dev='vnet2'/>
      <filterref filter='missing'/>
    </interface>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:04'/>
      <target dev='vnet3'/>
      <filterref filter='no-mac-spoofing'/>
    </interface>
  </devices>
</domain>`

func TestBindOfADomainGoesOnAfterAFailure(t *testing.T) {
	s := newSession(t)
	s.stdin = domain
	out := s.fails("bind --xml -", `tapgate: port vnet2 is not bound: filter "missing" is not defined`)
	s.says(out, "port vnet0 guarded by filter clean-traffic")
	s.says(out, "port vnet3 guarded by filter no-mac-spoofing")
	for port, want := range map[string]bool{"vnet0": true, "vnet1": false, "vnet2": false, "vnet3": true} {
		if _, got := s.ports[port]; got != want || s.stored("bindings", port) != want {
			t.Errorf("%s: guarded %t, want %t", port, got, want)
		}
	}
}

func TestBindOfOtherDocuments(t *testing.T) {
	s := newSession(t)
	s.ok("bind --xml " + s.file("interface.xml", `<interface type='bridge'><mac address='52:54:00:00:00:01'/><target dev='vnet0'/><filterref filter='no-mac-spoofing'/></interface>`))
	s.ok("bind --xml " + s.file("binding.xml", `<filterbinding><owner><name>vm1</name><uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid></owner>
		<portdev name='vnet1'/><mac address='52:54:00:00:00:02'/><filterref filter='no-mac-spoofing'/></filterbinding>`))
	if len(s.ports) != 2 {
		t.Errorf("guarded are %v", s.ports)
	}
	s.fails("bind --xml "+s.file("empty.xml", "<domain/>"), "no interface of the domain has a <filterref>, so there is nothing to bind")
	s.fails("bind --xml "+s.file("bad.xml", "<interface/>"), "bad.xml:1:1: <interface> has no <filterref>")
}

func TestBindsDoNotMeet(t *testing.T) {
	s := newSession(t)
	s.enter = func(string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		err := store.New(store.NewFiles(s.dir)).Update(ctx, func(*store.Update) error { return nil })
		if err == nil {
			t.Error("another command changed the store while a port was being guarded")
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if code, _, stderr := s.run("bind vnet0 --filter clean-traffic" + guest); code != exitOK {
				t.Error(stderr)
			}
		})
	}
	all.Wait()
}

func TestUnbindForgetsWhatIsThere(t *testing.T) {
	s := newSession(t)
	s.ok("bind vnet0 --filter no-mac-spoofing" + guest)
	out, _ := s.ok("unbind vnet0")
	s.says(out, "port vnet0 unbound")
	if len(s.ports) > 0 || s.stored("bindings", "vnet0") {
		t.Error("the port is still bound")
	}
	s.fails("unbind vnet0", `tapgate: port "vnet0" is not bound; "tapgate list" shows what is`)

	s.ok("bind vnet0 --filter no-mac-spoofing" + guest)
	delete(s.ports, "vnet0") // as after a restart of the host
	s.ok("unbind vnet0")
	if s.stored("bindings", "vnet0") {
		t.Error("the binding is still stored")
	}
	s.ports["vnet1"] = datapath.Port{Name: "vnet1"} // guarded by a command with another state directory
	s.ok("unbind vnet1")
}

func TestListShowsWhatIsGuardedAndWhatIsStored(t *testing.T) {
	s := newSession(t)
	out, _ := s.ok("list")
	s.says(out, "no port is bound")
	s.ok("bind vnet1 --filter no-mac-spoofing" + guest)
	s.ok("bind vnet0 --filter clean-traffic" + guest)
	delete(s.ports, "vnet0")
	out, _ = s.ok("list")
	lines := strings.Split(out, "\n")
	if len(lines) != 4 {
		t.Fatalf("got %q", out)
	}
	for i, want := range []string{"PORT STATE FILTER MAC PARAMETERS",
		"vnet0 not guarded clean-traffic 52:54:00:00:00:01 IP=10.0.0.5 0 0 0 0 0",
		"vnet1 guarded no-mac-spoofing 52:54:00:00:00:01 IP=10.0.0.5 0 0 0 0 0"} {
		s.says(strings.Join(strings.Fields(lines[i]), " "), want)
	}
	out, _ = s.ok("list --json")
	s.says(out, `"state": "not guarded"`)
	s.devices = []string{"vnet1"}
	out, _ = s.ok("list")
	s.says(strings.Join(strings.Fields(out), " "), "vnet0 waiting clean-traffic")
}
