package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tapgate/internal/settings"
)

// results is what became of ports, in words: "vnet0 updated".
func results(list []PortChange) string {
	var words []string
	for _, c := range list {
		words = append(words, c.Port+" "+string(c.Result))
	}
	return strings.Join(words, ", ")
}

// threePorts is a host whose ports use a filter: directly, by a reference, not at
// all.
func threePorts(t *testing.T) *kit {
	k := newKit(t, &DaemonOptions{})
	k.mustDefine(filterDoc("base", rule("<tcp dstportstart='22'/>")))
	k.mustDefine(filterDoc("top", "<filterref filter='base'/>"+rule("<udp/>")))
	k.mustDefine(filterDoc("other", rule("<icmp/>")))
	for port, filter := range map[string]string{"vnet0": "base", "vnet1": "top", "vnet2": "other"} {
		k.host.add(port)
		k.mustBind(port, filter)
	}
	k.mustBind("vnet3", "top")
	k.look(true)
	k.host.calls = nil
	return k
}

func TestAChangedFilterReachesAllItsPorts(t *testing.T) {
	k := threePorts(t)
	done := k.mustDefine(filterDoc("base", rule("<tcp dstportstart='23'/>")))
	if got := results(done.Ports); got != "vnet0 updated, vnet1 updated, vnet3 waiting" {
		t.Errorf("ports: %s", got)
	}
	k.quiet()
	done = k.mustDefine(filterDoc("base", rule("<tcp dstportstart='23'/>")))
	if got := results(done.Ports); done.What != "unchanged" || got != "vnet0 unchanged, vnet1 unchanged, vnet3 waiting" {
		t.Errorf("the same again: %s, %s", done.What, got)
	}
}

func TestAChangeThatOnePortCannotTakeIsRefusedAsAWhole(t *testing.T) {
	for name, tc := range map[string]struct {
		text   string
		refuse string
		want   string
	}{
		"a variable without a value": {rule("<ip srcipaddr='$NOWHERE'/>"), "", "port vnet0: "},
		"the kernel":                 {rule("<sctp/>"), "vnet1", "port vnet1: too large"},
		"a set's connlimit":          {"<rule action='accept' direction='out'><tcp connlimit-above='5000'/></rule>", "", "at most 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			k := threePorts(t)
			if tc.refuse != "" {
				k.host.refuse[tc.refuse] = errors.New("too large")
			}
			_, err := k.define(filterDoc("base", tc.text))
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v", err)
			}
			if len(k.host.calls) > 0 || k.host.prepared > 0 {
				t.Errorf("it did %v, and left %d prepared", k.host.calls, k.host.prepared)
			}
			f, err := k.Filter(t.Context(), "base", "")
			if err != nil || !strings.Contains(f.Source, "22") {
				t.Errorf("stored is %+v, %v", f, err)
			}
			entries, _, _ := k.History(t.Context())
			if last := entries[len(entries)-1]; last.Name == "base" {
				t.Errorf("the journal has %+v", last)
			}
			k.quiet()
		})
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	k := threePorts(t)
	done, err := k.Define(t.Context(), alice, Document{Source: filterDoc("base", rule("<udp/>"))}, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := results(done.Ports); got != "vnet0 planned, vnet1 planned, vnet3 waiting" || len(k.host.calls) > 0 {
		t.Errorf("planned %s, done %v", got, k.host.calls)
	}
	k.quiet()
}

func TestAPortThatWasBrokenBeforeHoldsNobodyUp(t *testing.T) {
	k := threePorts(t)
	k.mustDefine(filterDoc("half", "<filterref filter='base'/><filterref filter='gone'/>"))
	k.mustDefine(filterDoc("gone", rule("<igmp/>")))
	k.host.add("vnet4")
	k.mustBind("vnet4", "half")
	if _, err := k.Undefine(t.Context(), alice, "gone", true); err != nil {
		t.Fatal(err)
	}
	done := k.mustDefine(filterDoc("base", rule("<sctp/>")))
	if got := results(done.Ports); got != "vnet0 updated, vnet1 updated, vnet3 waiting, vnet4 failed" {
		t.Errorf("ports: %s", got)
	}
}

func TestAPortThatFailsInTheLastMomentIsReportedAndTriedAgain(t *testing.T) {
	k := threePorts(t)
	k.host.broken["vnet1"] = errors.New("out of memory")
	done := k.mustDefine(filterDoc("base", rule("<sctp/>")))
	if got := results(done.Ports); got != "vnet0 updated, vnet1 failed, vnet3 waiting" || done.Ports[1].Detail != "out of memory" {
		t.Errorf("ports: %+v", done.Ports)
	}
	delete(k.host.broken, "vnet1")
	k.look(true)
	if fault := k.fault("vnet1"); fault != "" {
		t.Errorf("fault %q is left", fault)
	}
	k.quiet()
}

func TestRollingBackAndUndefining(t *testing.T) {
	k := threePorts(t)
	k.mustDefine(filterDoc("base", rule("<sctp/>")))
	done, err := k.Rollback(t.Context(), alice, "base", "", false)
	if err != nil || done.What != "rolled back" || !strings.Contains(done.Diff, "dstportstart") || results(done.Ports) != "vnet0 updated, vnet1 updated, vnet3 waiting" {
		t.Errorf("rolled back: %+v, %v", done, err)
	}
	if _, err := k.Undefine(t.Context(), alice, "base", false); err == nil || !strings.Contains(err.Error(), "in use by filter top, port vnet0") {
		t.Errorf("undefining what is in use: %v", err)
	}
	// A stored filter in the place of a built-in one gives it back to its ports.
	k.mustDefine(filterDoc("no-ip-multicast", rule("<ip/>")))
	k.host.add("vnet5")
	k.mustBind("vnet5", "no-ip-multicast")
	done, err = k.Undefine(t.Context(), alice, "no-ip-multicast", false)
	if err != nil || !done.BuiltIn || results(done.Ports) != "vnet5 updated" {
		t.Errorf("undefined: %+v, %v", done, err)
	}
	k.quiet()
}

func TestBindingWithAFilterOfItsOwn(t *testing.T) {
	k := threePorts(t)
	all, _, err := k.Bindings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := *all[0]
	bound, err := k.Bind(t.Context(), alice, b, &Document{Source: filterDoc("base", rule("<sctp/>"))})
	if err != nil || bound.Definition == nil || results(bound.Definition.Ports) != "vnet1 updated, vnet3 waiting" {
		t.Errorf("bound %+v, %v", bound, err)
	}
	k.quiet()
	_, err = k.Bind(t.Context(), alice, b, &Document{Source: filterDoc("base", rule("<ip srcipaddr='$X'/>"))})
	if err == nil {
		t.Error("it took a filter that its port cannot enforce")
	}
	k.quiet()
}

func TestSettingsReachAllPorts(t *testing.T) {
	k := threePorts(t)
	done, err := k.Set(t.Context(), alice, "", assignments(t, "timeout_udp=60"))
	if err != nil || results(done.Ports) != "vnet0 updated, vnet1 updated, vnet2 updated, vnet3 waiting" {
		t.Errorf("%+v, %v", done, err)
	}
	k.quiet()
	done, err = k.Set(t.Context(), alice, "vnet2", assignments(t, "timeout_udp=70"))
	if err != nil || results(done.Ports) != "vnet2 updated" {
		t.Errorf("%+v, %v", done, err)
	}
	values, err := k.Settings(t.Context(), "vnet2")
	if err != nil || !strings.Contains(fmt.Sprint(values), "CTRL_TIMEOUT_UDP 70 port") {
		t.Errorf("%v, %v", values, err)
	}
	k.quiet()
}

func TestACommandChangesOnlyWhatIsGuarded(t *testing.T) {
	k := newKit(t, nil)
	k.mustDefine(filterDoc("base", rule("<tcp/>")))
	if _, err := k.bindTo("vnet0", "base"); err == nil || err.Error() != `there is no network device vnet0; only the daemon ("tapgate daemon") waits for a device that is not there yet` {
		t.Errorf("binding nothing: %v", err)
	}
	k.host.add("vnet0")
	k.host.add("vnet1")
	k.mustBind("vnet0", "base")
	k.mustBind("vnet1", "base")
	delete(k.host.ports, "vnet1") // as after a restart of the host
	k.stands("vnet1", "not guarded base")
	done := k.mustDefine(filterDoc("base", rule("<udp/>")))
	if got := results(done.Ports); got != "vnet0 updated, vnet1 skipped" {
		t.Errorf("ports: %s", got)
	}
	if _, err := k.BindAgain(t.Context(), alice, "vnet1"); err != nil {
		t.Error(err)
	}
	k.stands("vnet1", "guarded base")
}

func assignments(t *testing.T, texts ...string) (list []settings.Assignment) {
	t.Helper()
	for _, text := range texts {
		a, err := settings.ParseAssignment(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}
