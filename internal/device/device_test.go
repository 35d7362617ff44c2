package device

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestLoopback(t *testing.T) {
	byName, err := ByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	byIndex, err := ByIndex(byName.Index)
	if err != nil {
		t.Fatal(err)
	}
	if byIndex != byName {
		t.Errorf("by index %+v, by name %+v", byIndex, byName)
	}
	if byName.Name != "lo" || byName.Index == 0 || byName.Namespace == 0 || byName.IsMacvtap() {
		t.Errorf("found %+v", byName)
	}
}

func TestMissingDevices(t *testing.T) {
	for _, name := range []string{"nosuch0", strings.Repeat("x", 40), "a/b", ".."} {
		var missing *NotFoundError
		if _, err := ByName(name); !errors.As(err, &missing) || err.Error() != "there is no network device "+name {
			t.Errorf("%s: %v", name, err)
		}
	}
	var missing *NotFoundError
	if _, err := ByIndex(1 << 30); !errors.As(err, &missing) {
		t.Errorf("by index: %v", err)
	}
}

func TestOnlyMacvtapsTurnTheirSides(t *testing.T) {
	for kind, want := range map[string]bool{"macvtap": true, "ipvtap": true, "macvlan": false, "tun": false, "veth": false, "": false} {
		if got := (Device{Kind: kind}).IsMacvtap(); got != want {
			t.Errorf("%q: %v, want %v", kind, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	lo, err := ByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	list, err := Addresses(lo.Index)
	if err != nil || !slices.Contains(list, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("the addresses of lo are %v, %v", list, err)
	}
	if list, err := Addresses(1 << 30); err != nil || len(list) > 0 {
		t.Errorf("the addresses of no device are %v, %v", list, err)
	}
}
