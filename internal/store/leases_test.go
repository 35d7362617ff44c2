package store

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tapgate/internal/learn"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// lease is one of an address that was learned just now, and ends after some time,
// or not for 0.
func lease(address string, source learn.Source, lasts time.Duration) learn.Lease {
	now := time.Now().UTC().Truncate(time.Second)
	p, err := netip.ParsePrefix(address)
	if err != nil {
		a := netip.MustParseAddr(address)
		p = netip.PrefixFrom(a, a.BitLen())
	}
	l := learn.Lease{Address: p, Source: source, Learned: now, Renewed: now}
	if lasts != 0 {
		l.End = now.Add(lasts)
	}
	return l
}

func pinned(l learn.Lease) learn.Lease { l.Pinned = true; return l }

func (k kept) keep(key string, leases ...learn.Lease) {
	k.Helper()
	k.expect(k.update(func(u *Update) error { return u.KeepLeases(key, leases) }), "")
}

func (k kept) change(op Operation, port, address, key string, leases ...learn.Lease) {
	k.Helper()
	k.expect(k.update(func(u *Update) error {
		return u.ChangeLeases(LeaseEdit{op, port, lease(address, "", 0).Address}, key, leases, nil)
	}), "")
}

func (k kept) leases(key string) (leases []learn.Lease) {
	k.Helper()
	k.expect(k.View(k.Context(), func(v *View) (err error) {
		leases, err = v.Leases(key)
		return err
	}), "")
	return leases
}

// addresses are those of what is kept under a key.
func (k kept) addresses(key string) string {
	k.Helper()
	var words []string
	for _, l := range k.leases(key) {
		words = append(words, l.Text())
	}
	return strings.Join(words, " ")
}

func (k kept) hasLeases(key, want string) {
	k.Helper()
	if got := k.addresses(key); got != want {
		k.Errorf("%s has the leases %q, want %q", key, got, want)
	}
}

var sameLeases = cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()}

func TestLeasesComeBack(t *testing.T) {
	k := newStore(t)
	k.hasLeases("nothing", "")
	dhcp := lease("10.0.0.20", learn.DHCP, time.Hour)
	dhcp.Server = netip.MustParseAddr("10.0.0.1")
	all := []learn.Lease{
		lease("2001:db8:1::/56", learn.DHCPv6Prefix, time.Hour), dhcp, pinned(lease("10.0.0.5", learn.Operator, 0)),
		lease("2001:db8::5", learn.ND, time.Hour), lease("10.0.0.7", learn.DHCP, -time.Hour),
	}
	k.keep("a", all...)
	k.keep("b", lease("10.0.0.9", learn.ARP, 0))
	want := []learn.Lease{all[2], all[4], all[1], all[3], all[0]}
	if diff := cmp.Diff(want, k.leases("a"), sameLeases); diff != "" {
		t.Error(diff)
	}
	keys := func() (keys []string) {
		k.expect(k.View(t.Context(), func(v *View) (err error) { keys, err = v.LeaseKeys(); return err }), "")
		return keys
	}
	if diff := cmp.Diff([]string{"a", "b"}, keys()); diff != "" {
		t.Error(diff)
	}
	k.keep("a")
	k.keep("a") // none are no document, however often that is said
	k.hasLeases("a", "")
	if diff := cmp.Diff([]string{"b"}, keys()); diff != "" {
		t.Error(diff)
	}
	k.expectHistory() // it is the guests' doing
	if info, err := os.Stat(k.path(LeaseKind, "b")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

func TestLeaseKey(t *testing.T) {
	const uuid = "d54df46f-1ab5-4a22-8618-4560ef5fac2c"
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	long := strings.Repeat("n", 245)
	seen := map[string]string{}
	for _, test := range []struct {
		b    binding.Binding
		want string
	}{
		{binding.Binding{Port: "vnet0"}, "52-54-00-00-00-01@vnet0"},
		{binding.Binding{Port: "vnet0", OwnerName: "vnet0", OwnerUUID: uuid}, "52-54-00-00-00-01@vnet0"},
		{binding.Binding{Port: "vnet1"}, "52-54-00-00-00-01@vnet1"},
		{binding.Binding{Port: "vnet0", OwnerName: "vm", OwnerUUID: uuid}, "52-54-00-00-00-01_" + uuid},
		{binding.Binding{Port: "vnet1", OwnerName: "vm", OwnerUUID: strings.ToUpper(uuid)}, "52-54-00-00-00-01_" + uuid},
		{binding.Binding{Port: "vnet1", OwnerName: "vm", OwnerUUID: "{" + uuid + "}"}, "52-54-00-00-00-01_" + uuid},
		{binding.Binding{Port: uuid}, "52-54-00-00-00-01@" + uuid},
		{binding.Binding{Port: "vnet0", OwnerName: "vm", OwnerUUID: "../../x"}, "52-54-00-00-00-01_..%2F..%2Fx"},
		{binding.Binding{Port: "a%2F b\n\x7fé"}, "52-54-00-00-00-01@a%252F%20b%0A%7F%C3%A9"},
		{binding.Binding{Port: long}, ""},
		{binding.Binding{Port: long[1:]}, ""},
		{binding.Binding{Port: "vnet0", OwnerName: "vm", OwnerUUID: long}, ""},
	} {
		test.b.MAC = mac
		key := LeaseKey(&test.b)
		if test.want != "" && key != test.want {
			t.Errorf("%+v: %q, want %q", test.b, key, test.want)
		}
		if err := checkName(LeaseKind, key); err != nil {
			t.Error(err)
		}
		if other := seen[key]; test.want == "" && other != "" {
			t.Errorf("%.20q and %.20q have one key", other, test.b.Port)
		}
		seen[key] = test.b.Port
	}
	none := binding.Binding{Port: "vnet0"}
	if err := checkName(LeaseKind, LeaseKey(&none)); err != nil {
		t.Error(err)
	}
}

// The key of a guest is the same before it is stored and after.
func TestWholeBindingIsTheOneThatIsStored(t *testing.T) {
	k := newStore(t)
	for _, owner := range []string{"", "vnet0", "vm"} {
		b := &binding.Binding{Port: "vnet0", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Filter: "clean-traffic", OwnerName: owner}
		var before, after string
		k.expect(k.update(func(u *Update) error {
			whole := u.Whole(b)
			before = LeaseKey(whole)
			_, err := u.Bind(whole, nil, nil)
			return err
		}), "")
		k.expect(k.View(t.Context(), func(v *View) error {
			stored, err := v.Binding("vnet0")
			if err == nil {
				after = LeaseKey(stored)
			}
			return err
		}), "")
		if before != after {
			t.Errorf("of the owner %q the key was %s and is %s", owner, before, after)
		}
	}
}

func TestChangedLeasesAreWrittenDown(t *testing.T) {
	k := newStore(t)
	one, two := lease("10.0.0.5", learn.Operator, time.Hour), lease("2001:db8:1::/56", learn.Operator, 0)
	k.change(AddLeaseOp, "vnet0", "10.0.0.5", "key", one)
	k.change(AddLeaseOp, "vnet0", "2001:db8:1::/56", "key", two, one)
	k.change(PinLeaseOp, "vnet0", "10.0.0.5", "key", two, pinned(one))
	k.change(PinLeaseOp, "vnet0", "10.0.0.5", "key", two, pinned(one)) // says the same
	k.change(UnpinLeaseOp, "vnet0", "10.0.0.5", "key", two, one)
	k.change(DeleteLeaseOp, "vnet0", "10.0.0.5", "key", two)
	k.change(DeleteLeaseOp, "vnet0", "2001:db8:1::/56", "key")
	k.expectHistory(
		"lease-add vnet0:  → 10.0.0.5, done",
		"lease-add vnet0: 10.0.0.5 → 10.0.0.5 2001:db8:1::/56, done",
		"lease-pin vnet0: 10.0.0.5 2001:db8:1::/56 → 10.0.0.5 2001:db8:1::/56, done",
		"lease-unpin vnet0: 10.0.0.5 2001:db8:1::/56 → 10.0.0.5 2001:db8:1::/56, done",
		"lease-delete vnet0: 10.0.0.5 2001:db8:1::/56 → 2001:db8:1::/56, done",
		"lease-delete vnet0: 2001:db8:1::/56 → , done")
	k.expect(k.View(t.Context(), func(v *View) error {
		entries, _, err := v.History()
		for i, address := range []string{"10.0.0.5", "2001:db8:1::/56", "10.0.0.5", "10.0.0.5", "10.0.0.5", "2001:db8:1::/56"} {
			if e := entries[i]; e.Address != address || e.Document != "key" || e.Kind != LeaseKind {
				t.Errorf("entry %d is %+v", i, e)
			}
		}
		return err
	}), "")
}

func TestChangedLeasesAreStoredOnceTheyAreInForce(t *testing.T) {
	k := newStore(t)
	l := lease("10.0.0.5", learn.Operator, 0)
	edit := LeaseEdit{AddLeaseOp, "vnet0", l.Address}
	change := func(fail error) (err error) {
		enforced := 0
		err = k.update(func(u *Update) error {
			return u.ChangeLeases(edit, "key", []learn.Lease{l}, func() error {
				enforced++
				return fail
			})
		})
		if enforced != 1 {
			t.Errorf("it was enforced %d times", enforced)
		}
		return err
	}
	k.expect(change(errors.New("no room")), "no room")
	k.hasLeases("key", "")
	k.expect(change(nil), "")
	k.expect(change(nil), "") // stored already
	k.hasLeases("key", "10.0.0.5")
	k.expectHistory("lease-add vnet0:  → 10.0.0.5, failed no room", "lease-add vnet0:  → 10.0.0.5, done")
}

// A crash left a change without its result; then the guest went on learning.
func TestInterruptedChangeOfLeases(t *testing.T) {
	old := lease("10.0.0.5", learn.DHCP, time.Hour)
	for name, test := range map[string]struct {
		learned []learn.Lease // since
		want    string
	}{
		"done":              {[]learn.Lease{pinned(old)}, "done it was interrupted, and found to be done"},
		"not done":          {[]learn.Lease{old}, "interrupted nothing was changed"},
		"and learned since": {[]learn.Lease{old, lease("10.0.0.6", learn.DHCP, time.Hour)}, "interrupted the guest's addresses have changed since, so that it is not known whether this was done"},
	} {
		k := newStore(t)
		k.keep("key", old)
		k.change(PinLeaseOp, "vnet0", "10.0.0.5", "key", pinned(old))
		path := filepath.Join(k.dir, journalName)
		line, _, _ := strings.Cut(read(t, path), "\n")
		k.put(path, line+"\n")
		k.keep("key", test.learned...)
		k.expectHistory("lease-pin vnet0: 10.0.0.5 → 10.0.0.5, " + test.want)
		k.expect(k.update(func(u *Update) error { return u.Repair() }), "")
		k.expectHistory("lease-pin vnet0: 10.0.0.5 → 10.0.0.5, " + test.want)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestLeasesThatCannotBeRead(t *testing.T) {
	const one = `{"address":"10.0.0.5/32","source":"arp","learned":"2026-05-04T10:00:00Z","renewed":"2026-05-04T10:00:00Z"}`
	bad := map[string]struct{ text, fault string }{
		"half":     {`{"form":1,"leases":[`, "it is no JSON as it should be"},
		"empty":    {"", "it is no JSON as it should be"},
		"zeros":    {strings.Repeat("\x00", 5000), "it is no JSON as it should be"},
		"long":     {strings.Repeat(" ", nwfilter.MaxDocument+100<<10), "it is no JSON as it should be"},
		"formless": {`{"leases":[]}`, "its form is not noted"},
		"later":    {`{"form":2,"leases":{"by":"port"}}`, "a newer tapgate wrote it, in form 2; this one reads up to form 1"},
		"nowhere":  {`{"form":1,"leases":[{"source":"arp"}]}`, "its lease 1 has no address"},
		"network":  {`{"form":1,"leases":[{"address":"10.0.0.0/24","source":"arp"}]}`, "its lease 1 is of 10.0.0.0/24, which is no address"},
		"bits":     {`{"form":1,"leases":[{"address":"2001:db8::1/64","source":"arp"}]}`, "which is no address"},
		"sourceless": {`{"form":1,"leases":[{"address":"10.0.0.5/32"}]}`,
			"its lease of 10.0.0.5 has no source"},
		"twice": {`{"form":1,"leases":[` + one + "," + one + `]}`, "it has 10.0.0.5 several times"},
	}
	k := newStore(t)
	k.keep("good", lease("10.0.0.5", learn.DHCP, time.Hour))
	for key, b := range bad {
		k.put(k.path(LeaseKind, key), b.text)
	}
	for key, b := range bad {
		k.expect(k.View(t.Context(), func(v *View) error { _, err := v.Leases(key); return err }),
			fmt.Sprintf("the stored leases of %q cannot be read: ", key))
		k.expect(k.View(t.Context(), func(v *View) error { _, err := v.Leases(key); return err }), b.fault)
	}
	if got := k.asideTexts(); len(got) != 0 {
		t.Errorf("a reader set aside %d files", len(got))
	}
	var said []error
	k.expect(k.update(func(u *Update) error { err := u.Repair(); said = u.Aside(); return err }), "")
	got := k.asideTexts()
	for key, b := range bad {
		if got["leases/"+key+".json"] != b.text {
			t.Errorf("%s was not set aside", key)
		}
		k.hasLeases(key, "")
	}
	if len(said) != len(bad) {
		t.Errorf("said is %v", said)
	}
	k.expect(said[0], ".json: the guest's addresses are learned anew")
	k.hasLeases("good", "10.0.0.5")
	if n := len(k.history()); n != len(bad) {
		t.Errorf("the journal has %d entries", n)
	}
	// Who changes what cannot be read loses nothing of it, either.
	k.put(k.path(LeaseKind, "good"), "nonsense")
	k.expect(k.update(func(u *Update) error { _, err := u.Leases("good"); return err }), "it was set aside as "+k.dir)
	if k.asideTexts()["leases/good.json"] != "nonsense" {
		t.Error("it was not set aside")
	}
}
