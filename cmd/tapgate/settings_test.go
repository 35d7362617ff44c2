package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/client"
	"tapgate/internal/datapath"
)

// set are the values of a port that are not the default, as NAME=VALUE from.
func (s *session) set(port string) map[string]string {
	set := map[string]string{}
	for _, v := range s.ports[port].Settings.Set() {
		set[v.Name] = fmt.Sprintf("%s of the %s", v.Value, v.From)
	}
	return set
}

func (s *session) hasSet(port string, want map[string]string) {
	s.Helper()
	if diff := cmp.Diff(want, s.set(port)); diff != "" {
		s.Errorf("%s: %s", port, diff)
	}
}

func TestSettingsOfTheHostComeIntoForce(t *testing.T) {
	s := newSession(t)
	s.ok("settings timeout_icmp=5")
	s.ok("bind vnet0 --filter no-mac-spoofing" + guest + " --param CTRL_TIMEOUT_UDP=7 --param CTRL_HELPER_FTP=21,2121")
	s.ok("bind vnet1 --filter no-mac-spoofing" + guest)
	s.hasSet("vnet0", map[string]string{"CTRL_TIMEOUT_ICMP": "5 of the host", "CTRL_TIMEOUT_UDP": "7 of the port", "CTRL_HELPER_FTP": "21,2121 of the port"})

	out, _ := s.ok("settings TIMEOUT_UDP=60 ctrl_max_connections=1000")
	s.says(out, "timeout_udp      60 s   30 s     host")
	s.says(out, "port vnet0 updated\nport vnet1 updated\n")
	s.hasSet("vnet0", map[string]string{"CTRL_TIMEOUT_ICMP": "5 of the host", "CTRL_TIMEOUT_UDP": "7 of the port", "CTRL_HELPER_FTP": "21,2121 of the port", "CTRL_MAX_CONNECTIONS": "1000 of the host"})
	s.hasSet("vnet1", map[string]string{"CTRL_TIMEOUT_ICMP": "5 of the host", "CTRL_TIMEOUT_UDP": "60 of the host", "CTRL_MAX_CONNECTIONS": "1000 of the host"})

	s.ok("settings timeout_udp= timeout_icmp= max_connections=")
	s.hasSet("vnet1", map[string]string{})
	out, _ = s.ok("settings --port vnet0 timeout_udp max_connections")
	s.says(out, "max_connections  65536  65536    default")
	s.says(out, "timeout_udp      7 s    30 s     port")
	out, _ = s.ok("list --json")
	s.says(out, `"name": "CTRL_TIMEOUT_UDP"`)
	if strings.Contains(out, "CTRL_TIMEOUT_ICMP") {
		t.Error("list shows defaults")
	}
	s.fails("settings --port vnet9", "vnet9 is not guarded")
}

func TestSettingsOfAPort(t *testing.T) {
	s := newSession(t)
	s.ok("bind vnet0 --filter no-mac-spoofing" + guest + " --param CTRL_HELPER_FTP=21,2121")
	s.ok("settings --port vnet0 timeout_udp=9 helper_ftp=2122")
	s.hasSet("vnet0", map[string]string{"CTRL_TIMEOUT_UDP": "9 of the port", "CTRL_HELPER_FTP": "2122 of the port"})
	s.ok("bind vnet0") // as it is stored
	s.hasSet("vnet0", map[string]string{"CTRL_TIMEOUT_UDP": "9 of the port", "CTRL_HELPER_FTP": "2122 of the port"})
	s.ok("settings --port vnet0 helper_ftp=")
	s.hasSet("vnet0", map[string]string{"CTRL_TIMEOUT_UDP": "9 of the port"})
	s.fails("settings --port vnet1 timeout_udp=9", `port "vnet1" is not bound`)

	s.refuse["vnet0"] = errors.New("no room")
	s.fails("settings --port vnet0 timeout_udp=10", "no room")
	delete(s.refuse, "vnet0")
	s.ok("bind vnet0")
	s.hasSet("vnet0", map[string]string{"CTRL_TIMEOUT_UDP": "9 of the port"})
}

func TestSettingsReachAllPortsOrNone(t *testing.T) {
	s := newSession(t)
	for _, port := range []string{"vnet0", "vnet1", "vnet2"} {
		s.ok("bind " + port + " --filter no-mac-spoofing" + guest)
	}
	s.refuse["vnet0"] = errors.New("no room")
	s.fails("settings timeout_udp=60", "tapgate: nothing is changed: 1 port cannot take the host's settings\ntapgate: port vnet0: no room\n")
	s.hasSet("vnet2", map[string]string{})
	out, _ := s.ok("settings timeout_udp")
	s.says(out, "timeout_udp  30 s   30 s     default")

	// One that fails at the last moment holds up nobody.
	delete(s.refuse, "vnet0")
	s.fail["vnet0"] = errors.New("no room")
	delete(s.ports, "vnet1") // as after a restart of the guest
	code, stdout, stderr := s.run("settings timeout_udp=60 --json")
	if code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	s.says(stderr, "tapgate: port vnet0 keeps what it had: no room\n")
	s.says(stderr, "note: port vnet1: it is not guarded now; it has this once it is bound\n")
	s.hasSet("vnet0", map[string]string{})
	s.hasSet("vnet2", map[string]string{"CTRL_TIMEOUT_UDP": "60 of the host"})
	if _, bound := s.ports["vnet1"]; bound {
		t.Error("a port that was not guarded was bound")
	}
	var done struct {
		Settings []client.Setting
		Ports    []client.PortChange
	}
	if err := json.Unmarshal([]byte(stdout), &done); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if len(done.Settings) != 1 || len(done.Ports) != 3 || done.Ports[2].Result != client.PortUpdated {
		t.Errorf("%s", stdout)
	}
}

func TestSettingsThatCannotBeAreRefused(t *testing.T) {
	s := newSession(t)
	s.fails("bind --xml "+s.file("b.xml", `<interface type='bridge'><mac address='52:54:00:00:00:01'/><target dev='vnet0'/>
<filterref filter='no-mac-spoofing'><parameter name='CTRL_TIMEOUT_UPD' value='5'/></filterref></interface>`),
		`b.xml:2:37: there is no setting "CTRL_TIMEOUT_UPD"; did you mean "CTRL_TIMEOUT_UDP"?`)
	filter := s.file("f.xml", `<filter name='f'><rule action='drop' direction='in'><tcp dstportstart='$CTRL_TIMEOUT_UDP'/></rule></filter>`)
	s.fails("bind vnet0 --filter "+filter+guest+" --param CTRL_TIMEOUT_UDP=5",
		"f.xml:1:58: $CTRL_TIMEOUT_UDP: names that begin with CTRL_ are settings of the port, which rules cannot use; give the variable another name")
	if len(s.ports) > 0 || s.stored("bindings", "vnet0") || s.stored("filters", "f") {
		t.Error("something was bound or stored")
	}
	for line, fault := range map[string]string{
		"settings timeout_udp=x":              "CTRL_TIMEOUT_UDP cannot be",
		"settings nonsense":                   `there is no setting "nonsense"`,
		"settings timeout_icmp timeout_udp=5": `"timeout_icmp" sets nothing: expected NAME=VALUE`,
		"bind vnet0 --filter no-mac-spoofing" + guest + " --param CTRL_TIMEOUT_UDP=x": "--param: CTRL_TIMEOUT_UDP cannot be",
	} {
		code, _, stderr := s.run(line)
		if code != exitUsage {
			t.Errorf("%s: exit code %d", line, code)
		}
		s.says(stderr, fault)
	}
	if s.ports["vnet0"].State == datapath.Guarded {
		t.Error("the port was bound")
	}
}
