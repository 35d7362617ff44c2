package store

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/internal/settings"
)

func (k kept) settings() (given settings.Given, err error) {
	k.Helper()
	err = k.View(k.Context(), func(v *View) (err error) {
		given, err = v.Settings()
		return err
	})
	return given, err
}

func TestSettingsOfTheHost(t *testing.T) {
	k := newStore(t)
	if given, err := k.settings(); len(given) > 0 || err != nil {
		t.Errorf("an empty store has %v (%v)", given, err)
	}
	for _, want := range []settings.Given{
		{"CTRL_TIMEOUT_UDP": {"60"}, "CTRL_HELPER_FTP": {"21", "2121"}},
		{"CTRL_TIMEOUT_UDP": {"5"}},
		{},
	} {
		k.expect(k.update(func(u *Update) error { return u.Set(want, nil) }), "")
		given, err := k.settings()
		if diff := cmp.Diff(want, given); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
}

func TestSettingsAreWrittenDown(t *testing.T) {
	k := newStore(t)
	for _, udp := range []string{"60", "60", "5"} {
		k.expect(k.update(func(u *Update) error { return u.Set(settings.Given{"CTRL_TIMEOUT_UDP": {udp}}, nil) }), "")
	}
	k.expectHistory(
		"set host:  → CTRL_TIMEOUT_UDP=60, done",
		"set host: CTRL_TIMEOUT_UDP=60 → CTRL_TIMEOUT_UDP=5, done")
}

func TestSettingsOfALaterForm(t *testing.T) {
	k := newStore(t)
	k.expect(k.update(func(u *Update) error { return u.Set(nil, nil) }), "")
	k.put(k.path(SettingsKind, "host"), "# form 2\nCTRL_TIMEOUT_UDP=60\n")
	_, err := k.settings()
	k.expect(err, "a newer tapgate wrote it, in form 2")
}

func TestSettingsThatCannotBeRead(t *testing.T) {
	k := newStore(t)
	k.expect(k.update(func(u *Update) error { return u.Set(nil, nil) }), "")
	path := k.dir + "/settings/host.conf"
	if err := os.WriteFile(path, []byte("timeout_udp=60\ntimeout_icmp=long\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := k.settings()
	k.expect(err, path+":2: CTRL_TIMEOUT_ICMP cannot be \"long\": expected a number of seconds")
}
