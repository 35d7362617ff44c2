package store

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhoIsBehindRoot(t *testing.T) {
	names := map[uint32]string{0: "root", 1000: "alice"}
	name := func(uid uint32) string { return names[uid] }
	alice := func(from string) *Login { return &Login{1000, "alice", from} }
	for _, test := range []struct {
		uid           uint32
		session, sudo string
		want          Actor
		text          string
	}{
		{0, "4294967295", "", Actor{0, "root", nil}, "root"},
		{0, "", "", Actor{0, "root", nil}, "root"},
		{0, "0\n", "1000", Actor{0, "root", nil}, "root"},
		{0, "1000\n", "", Actor{0, "root", alice("session")}, "alice as root"},
		{0, "1000", "2000", Actor{0, "root", alice("session")}, "alice as root"},
		{0, "4294967295", "1000", Actor{0, "root", alice("sudo")}, "alice as root"},
		{0, "", "2000", Actor{0, "root", &Login{2000, "", "sudo"}}, "uid 2000 as root"},
		{0, "", "-5", Actor{0, "root", nil}, "root"},
		{1000, "1000", "", Actor{1000, "alice", nil}, "alice"},
		{77, "", "", Actor{77, "", nil}, "uid 77"},
	} {
		got := actor(test.uid, test.session, test.sudo, name)
		if diff := cmp.Diff(test.want, got); diff != "" || got.String() != test.text {
			t.Errorf("uid %d, session %q, sudo %q: %q %s", test.uid, test.session, test.sudo, got, diff)
		}
	}
}

func TestThisProcess(t *testing.T) {
	t.Setenv("SUDO_UID", "4242")
	session, err := os.ReadFile("/proc/self/loginuid")
	if err != nil {
		session = nil // a kernel without audit
	}
	got := ThisProcess()
	if got.UID != uint32(os.Getuid()) {
		t.Errorf("this process is %+v", got)
	}
	if nobody := len(session) == 0 || string(session) == "4294967295"; nobody && !cmp.Equal(got.Login, &Login{UID: 4242, From: "sudo"}) {
		t.Errorf("behind it is %+v", got.Login)
	} else if !nobody && got.Login != nil && got.Login.From != "session" {
		t.Errorf("behind it is %+v, not who logged in", got.Login)
	}
}
