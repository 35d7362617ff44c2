package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

func parameters(pairs ...string) []nwfilter.Parameter {
	var list []nwfilter.Parameter
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		list = append(list, nwfilter.Parameter{Name: name, Value: value})
	}
	return list
}

func resolve(t *testing.T, host Given, pairs ...string) Values {
	t.Helper()
	values, err := Resolve(host, parameters(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

var inAnyOrder = cmpopts.SortSlices(func(a, b conntrack.Service) bool { return a.Port < b.Port || a.Port == b.Port && a.Proto < b.Proto })

func TestDefaultsAreThoseOfTheTracker(t *testing.T) {
	want := Settings{MaxConnections: 65536, PickUp: true, Timeouts: conntrack.DefaultTimeouts(), Services: conntrack.DefaultServices()}
	if diff := cmp.Diff(want, resolve(t, nil).Settings(), inAnyOrder); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, Values(nil).Settings(), inAnyOrder); diff != "" {
		t.Errorf("nothing stands for the defaults: %s", diff)
	}
}

// Each setting changes one thing, which no other does, and is found by its
// names.
func TestEachSettingIsItsOwn(t *testing.T) {
	before := Defaults().Settings()
	changes := map[string]string{}
	for i := range All() {
		s := &All()[i]
		value := map[Kind]string{Seconds: "7", Count: "7", YesNo: "no", Ports: "7"}[s.Kind]
		diff := cmp.Diff(before, resolve(t, nil, s.Name+"="+value).Settings())
		if diff == "" || changes[diff] != "" {
			t.Errorf("%s changes what %s does:\n%s", s.Name, changes[diff], diff)
		}
		changes[diff] = s.Name
		if Find(s.Name) != s || s.About == "" {
			t.Errorf("%s is not found, or not described", s.Name)
		}
		for _, name := range []string{s.ShortName(), s.Name, strings.ToLower(s.Name)} {
			if found, err := FindShort(name); found != s {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestValues(t *testing.T) {
	const seconds, count, ports = "a number of seconds from 1 to 31536000", "a number from 1 to 1000000", "up to 8 ports from 1 to 65535, or none"
	for _, test := range []struct {
		text, want string // "" for want: it is refused
		expected   string
	}{
		{"timeout_udp=1", "1", ""},
		{"CTRL_TIMEOUT_UDP=31536000", "31536000", ""},
		{"timeout_udp=0", "", seconds},
		{"timeout_udp=31536001", "", seconds},
		{"timeout_udp=-1", "", seconds},
		{"timeout_udp=010", "", seconds},
		{"timeout_udp=0x10", "", seconds},
		{"timeout_udp=10s", "", seconds},
		{"timeout_udp=99999999999999999999", "", seconds},
		{"timeout_udp=1,2", "", "has 2 values: expected one, " + seconds},
		{"Max_Connections=1", "1", ""},
		{"max_connections=1000000", "1000000", ""},
		{"max_connections=0", "", count},
		{"max_connections=1000001", "", count},
		{"tcp_pick_up=YES", "yes", ""},
		{"tcp_pick_up=no", "no", ""},
		{"tcp_pick_up=maybe", "", "yes or no"},
		{"helper_ftp=21", "21", ""},
		{"helper_ftp=21,2121,21", "21,2121", ""},
		{"helper_ftp=None", "none", ""},
		{"helper_ftp=1,2,3,4,5,6,7,8", "1,2,3,4,5,6,7,8", ""},
		{"helper_ftp=1,2,3,4,5,6,7,8,9", "", ports},
		{"helper_ftp=none,21", "", ports},
		{"helper_ftp=21,", "", ports},
		{"helper_ftp=0", "", ports},
		{"helper_ftp=65536", "", ports},
		{"helper_ftp=ftp", "", ports},
	} {
		a, err := ParseAssignment(test.text)
		switch {
		case test.want == "" && (err == nil || !strings.Contains(err.Error(), test.expected)):
			t.Errorf("%s: %v, want %q", test.text, err, test.expected)
		case test.want != "" && (err != nil || strings.Join(a.Values, ",") != test.want):
			t.Errorf("%s: %v %v", test.text, a.Values, err)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for text, hint := range map[string]string{
		"timeout_upd=1":       `there is no setting "timeout_upd"; did you mean "timeout_udp"?`,
		"CTRL_TIMEOUT_UPD=1":  `there is no setting "CTRL_TIMEOUT_UPD"; did you mean "timeout_udp"?`,
		"udp=1":               `there is no setting "udp"; did you mean "timeout_udp"?`,
		"SIP=1":               `there is no setting "SIP"; did you mean "helper_sip"?`,
		"colour=1":            `there is no setting "colour"; "tapgate settings" lists them`,
		"=1":                  `there is no setting ""; "tapgate settings" lists them`,
		"CTRL_IP_LEARNING=no": `there is no setting "CTRL_IP_LEARNING"; "tapgate settings" lists them`,
		"timeout_udp":         `"timeout_udp" sets nothing: expected NAME=VALUE`,
	} {
		if _, err := ParseAssignment(text); err == nil || err.Error() != hint {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestThePortWinsOverTheHost(t *testing.T) {
	host := Given{"CTRL_TIMEOUT_UDP": {"60"}, "CTRL_TIMEOUT_ICMP": {"5"}, "CTRL_HELPER_FTP": {"21", "2121"}}
	values := resolve(t, host, "IP=10.0.0.5", "CTRL_TIMEOUT_UDP=7", "CTRL_IP_LEARNING=dhcp", "CTRL_HELPER_SIP=5060", "CTRL_HELPER_SIP=5062", "ctrl_x=1")
	want := Values{
		{"CTRL_HELPER_FTP", "21,2121", ByHost},
		{"CTRL_HELPER_SIP", "5060,5062", ByPort},
		{"CTRL_TIMEOUT_UDP", "7", ByPort},
		{"CTRL_TIMEOUT_ICMP", "5", ByHost},
	}
	if diff := cmp.Diff(want, values.Set()); diff != "" {
		t.Error(diff)
	}
	if len(values) != len(All()) {
		t.Errorf("%d values of %d settings", len(values), len(All()))
	}
}

func TestParametersThatCannotBe(t *testing.T) {
	at := nwfilter.Position{File: "b.xml", Line: 9, Column: 5}
	for _, test := range []struct {
		params []nwfilter.Parameter
		want   string
	}{
		{parameters("CTRL_TIMEOUT_UPD=1"), `there is no setting "CTRL_TIMEOUT_UPD"; did you mean "CTRL_TIMEOUT_UDP"?`},
		{[]nwfilter.Parameter{{Name: "CTRL_X", Value: "1", Pos: at}}, `b.xml:9:5: there is no setting "CTRL_X"; "tapgate settings" lists them`},
		{[]nwfilter.Parameter{{Name: "A", Value: "1"}, {Name: "CTRL_TIMEOUT_UDP", Value: "x", Pos: at}},
			`b.xml:9:5: CTRL_TIMEOUT_UDP cannot be "x": expected a number of seconds from 1 to 31536000`},
		{[]nwfilter.Parameter{{Name: "CTRL_TIMEOUT_UDP", Value: "x", Pos: at}, {Name: "CTRL_MAX_CONNECTIONS", Value: "y"}},
			`b.xml:9:5: CTRL_TIMEOUT_UDP cannot be "x": expected a number of seconds from 1 to 31536000`},
		{parameters("CTRL_TIMEOUT_UDP=1", "CTRL_TIMEOUT_UDP=2"), "CTRL_TIMEOUT_UDP has 2 values: expected one, a number of seconds from 1 to 31536000"},
		{parameters("CTRL_HELPER_FTP=21", "CTRL_HELPER_FTP=none"), `CTRL_HELPER_FTP cannot be "21,none": expected up to 8 ports from 1 to 65535, or none`},
	} {
		if _, err := Resolve(nil, test.params); err == nil || err.Error() != test.want {
			t.Errorf("%v:\n got %v\nwant %s", test.params, err, test.want)
		}
	}
}

func TestGivenIsKeptAsLines(t *testing.T) {
	text := "# times\n\nCTRL_TIMEOUT_UDP=60\n helper_ftp=21,2121\nCTRL_TIMEOUT_ICMP=5\nCTRL_TIMEOUT_ICMP=\n"
	given, err := ParseGiven([]byte(text), "host.conf")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Given{"CTRL_TIMEOUT_UDP": {"60"}, "CTRL_HELPER_FTP": {"21", "2121"}}, given); diff != "" {
		t.Error(diff)
	}
	if got, want := string(given.Format()), "CTRL_HELPER_FTP=21,2121\nCTRL_TIMEOUT_UDP=60\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if _, err := ParseGiven([]byte("\ntimeout_udp=x"), "host.conf"); err == nil || !strings.HasPrefix(err.Error(), "host.conf:2: CTRL_TIMEOUT_UDP cannot be") {
		t.Error(err)
	}
}

func TestPortsOfHelpers(t *testing.T) {
	services := resolve(t, Given{"CTRL_HELPER_TFTP": {"none"}, "CTRL_HELPER_IRC": {"none"}}, "CTRL_HELPER_FTP=2121", "CTRL_HELPER_FTP=21").Settings().Services
	for _, one := range []struct {
		service conntrack.Service
		want    bool
	}{
		{conntrack.Service{Helper: conntrack.FTP, Proto: packet.ProtoTCP, Port: 2121}, true},
		{conntrack.Service{Helper: conntrack.FTP, Proto: packet.ProtoTCP, Port: 21}, true},
		{conntrack.Service{Helper: conntrack.FTP, Proto: packet.ProtoUDP, Port: 21}, false},
		{conntrack.Service{Helper: conntrack.TFTP, Proto: packet.ProtoUDP, Port: 69}, false},
		{conntrack.Service{Helper: conntrack.IRC, Proto: packet.ProtoTCP, Port: 6667}, false},
		{conntrack.Service{Helper: conntrack.Amanda, Proto: packet.ProtoUDP, Port: 10080}, true},
	} {
		if slices.Contains(services, one.service) != one.want {
			t.Errorf("%+v: want %v in %+v", one.service, one.want, services)
		}
	}
	for _, test := range []struct {
		params []nwfilter.Parameter
		want   string
	}{
		{parameters("CTRL_HELPER_FTP=6667"), "CTRL_HELPER_FTP and CTRL_HELPER_IRC both name port 6667: expected different ports, or none"},
		{parameters("CTRL_HELPER_FTP=6667", "CTRL_HELPER_IRC=none", "CTRL_HELPER_TFTP=6667"), ""}, // TCP and UDP
		{manyPorts(), "the CTRL_HELPER_… settings name 17 ports, those of TCP and UDP counted apart: at most 16 are possible"},
	} {
		_, err := Resolve(nil, test.params)
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("%v: %v", test.params, err)
		}
	}
}

// manyPorts name one port too many, with SIP's off.
func manyPorts() []nwfilter.Parameter {
	list := parameters("CTRL_HELPER_SIP=none", "CTRL_HELPER_AMANDA=1000")
	for i := range 8 {
		list = append(list, parameters(fmt.Sprintf("CTRL_HELPER_FTP=%d", 2000+i), fmt.Sprintf("CTRL_HELPER_IRC=%d", 3000+i))...)
	}
	return append(list, parameters("CTRL_HELPER_TFTP=none")...)
}

// Values that another version has pinned may lack some, or have others.
func TestValuesOfAnotherVersion(t *testing.T) {
	old := Values{{"CTRL_GONE", "1", ByHost}, {"CTRL_TIMEOUT_UDP", "60", ByPort}, {"CTRL_TIMEOUT_ICMP", "for ever", ByHost}}
	whole := old.Whole()
	if len(whole) != len(All()) || len(whole.Set()) != 2 {
		t.Errorf("%v", whole)
	}
	want := Defaults().Settings()
	want.Timeouts.UDP *= 2
	if diff := cmp.Diff(want, old.Settings()); diff != "" {
		t.Error(diff)
	}
}

// FuzzParseGiven: what is read is printed as it is read again.
func FuzzParseGiven(f *testing.F) {
	f.Add([]byte("CTRL_HELPER_FTP=21,2121\ntimeout_udp=5\n# x\ntcp_pick_up=NO"))
	f.Fuzz(func(t *testing.T, text []byte) {
		given, err := ParseGiven(text, "x")
		if err != nil {
			return
		}
		again, err := ParseGiven(given.Format(), "y")
		if diff := cmp.Diff(given, again); diff != "" || err != nil {
			t.Fatalf("%v %s", err, diff)
		}
		if _, err := Resolve(given, nil); err != nil {
			t.Fatal(err)
		}
	})
}
