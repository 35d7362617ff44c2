// Package systemd_test checks the unit files with systemd's own programs. None
// needs a running systemd.
package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tapgate/internal/datapath"
	"tapgate/internal/store"
)

// maxExposure is what "systemd-analyze security" may find, in tenths.
const maxExposure = "25"

var units = []string{"tapgate.service", "tapgate.socket"}

// tool runs a program of systemd's, and skips without it.
func tool(t *testing.T, name string, args ...string) (output string, err error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s (Debian: apt-get install systemd)", name)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

// installed copies the units to where their program is, and gives their paths.
func installed(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, name := range units {
		text := bytes.ReplaceAll([]byte(read(t, name)), []byte("/usr/local/bin/tapgate"), []byte("/bin/true"))
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newer are settings that an earlier systemd says it ignores.
var newer = regexp.MustCompile(`Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)'`)

func TestUnitsAreWellFormed(t *testing.T) {
	out, err := tool(t, "systemd-analyze", append([]string{"verify"}, installed(t)...)...)
	if err != nil {
		t.Errorf("systemd-analyze verify: %v", err)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "tapgate") && !newer.MatchString(line) {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
}

func TestTheDaemonIsExposedLittle(t *testing.T) {
	out, err := tool(t, "systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold="+maxExposure, installed(t)[0])
	if err != nil && strings.Contains(out, "unrecognized option") {
		t.Skip("needs systemd 250")
	}
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	t.Log(out[max(0, strings.LastIndex(out, "Overall")):])
}

func TestTheGroupIsMade(t *testing.T) {
	conf, err := filepath.Abs("sysusers.d/tapgate.conf")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := tool(t, "systemd-sysusers", "--root="+root, conf); err != nil {
		t.Fatalf("systemd-sysusers: %v\n%s", err, out)
	}
	if groups := read(t, filepath.Join(root, "etc/group")); !strings.HasPrefix(groups, "tapgate:") {
		t.Errorf("/etc/group is %q", groups)
	}
	if group := setting(t, "tapgate.socket", "SocketGroup"); !slices.Equal(group, []string{"tapgate"}) {
		t.Errorf("the socket's group is %q", group)
	}
}

// TestUnitsNameTheProgramsPlaces fails when a default moves away from the units.
func TestUnitsNameTheProgramsPlaces(t *testing.T) {
	if got := setting(t, "tapgate.service", "ReadWritePaths"); !slices.Equal(got, []string{datapath.DefaultDir}) {
		t.Errorf("the service may write to %q, programs are pinned at %s", got, datapath.DefaultDir)
	}
	if got := setting(t, "tapgate.service", "StateDirectory"); !slices.Equal(got, []string{strings.TrimPrefix(store.DefaultDir, "/var/lib/")}) {
		t.Errorf("the state directory is %q, filters are stored at %s", got, store.DefaultDir)
	}
	runtime := "/run/" + strings.Join(setting(t, "tapgate.service", "RuntimeDirectory"), " ")
	if got := setting(t, "tapgate.socket", "ListenStream"); len(got) != 1 || filepath.Dir(got[0]) != runtime {
		t.Errorf("the socket is %q, which is not in %s", got, runtime)
	}
}

// setting gives the words of a setting, which must be there once.
func setting(t *testing.T, unit, name string) []string {
	t.Helper()
	all := regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(read(t, unit), -1)
	if len(all) != 1 {
		t.Fatalf("%s has %s %d times, want once", unit, name, len(all))
	}
	return strings.Fields(all[0][1])
}
