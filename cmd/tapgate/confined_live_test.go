package main

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"tapgate/internal/lab"
)

// confined sets up what systemd makes of ProtectKernelTunables=yes and
// ReadWritePaths=/sys/fs/bpf/tapgate, in mounts of its own, and runs a command
// in it with the capabilities that it is given, all else being root's.
const confined = `
capabilities=$1; shift
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mkdir -m 0700 /sys/fs/bpf/tapgate
mount --bind /sys/fs/bpf/tapgate /sys/fs/bpf/tapgate
mount -o remount,bind,ro /sys/fs/bpf
mount -o remount,bind,ro /sys
exec setpriv --no-new-privs --bounding-set "-all$capabilities" --inh-caps "-all$capabilities" sh -euc '
if mkdir /sys/fs/bpf/elsewhere 2>/dev/null; then echo "all of the bpffs can be written to"; exit 1; fi
tapgate bind port0 --filter clean-traffic --mac 52:54:00:00:00:01 --param IP=10.77.0.11
tapgate bind port0 --filter ../../examples/ftp-states.xml --mac 52:54:00:00:00:01 --param IP=10.77.0.11
tapgate list
tapgate stats port0
tapgate conntrack port0
tapgate conntrack port0 --flush
tapgate settings timeout_udp=60
timeout --preserve-status --signal INT 1 tapgate watch port0
timeout --preserve-status --signal TERM 2 tapgate daemon --socket "$TAPGATE_STATE_DIR/socket" --default-filter no-ip-multicast --default-devices "vm*"
tapgate unbind port0

export TAPGATE_SOCKET="$TAPGATE_STATE_DIR/socket"
tapgate daemon --gate off & daemon=$!
trap "kill $daemon" EXIT
until [ -S "$TAPGATE_SOCKET" ]; do sleep 0.1; done
tapgate bind port0 --filter clean-traffic --mac 52:54:00:00:00:01
tapgate list | grep -q "^port0  learning"
bash -c "echo hello > /dev/udp/10.77.0.12/9"
sleep 1
tapgate leases port0 | grep "10.77.0.11 *arp"
tapgate stats port0 | grep "[1-9].* accept ethertype=arp "
tapgate unbind port0
'`

// TestTheUnitsRightsAreEnough runs commands with the rights that
// systemd/tapgate.service gives the daemon.
func TestTheUnitsRightsAreEnough(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip(lab.ErrNeedsRoot)
	}
	for program, packages := range map[string]string{"setpriv": "util-linux", "mount": "mount", "bash": "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (Debian: apt-get install %s)", program, packages)
		}
	}
	unit, err := os.ReadFile("../../systemd/tapgate.service")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if words == nil {
		t.Fatal("the unit has no CapabilityBoundingSet=")
	}
	capabilities := ""
	for _, word := range strings.Fields(string(words[1])) {
		capabilities += ",+" + strings.ToLower(strings.TrimPrefix(word, "CAP_"))
	}
	ns, err := lab.NewNamespace("confined")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "port0", Flags: net.FlagUp},
		PeerName:  "guest0", PeerHardwareAddr: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1},
	}
	links := ns.Links()
	guest, err := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "guest0"}}, links.LinkAdd(veth)
	if err == nil {
		err = links.LinkSetUp(guest)
	}
	if err == nil {
		err = links.AddrAdd(guest, &netlink.Addr{IPNet: &net.IPNet{IP: net.IP{10, 77, 0, 11}, Mask: net.CIDRMask(24, 32)}})
	}
	if err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() error {
		c := exec.CommandContext(t.Context(), "sh", "-euc", confined, "sh", capabilities)
		c.Env = append(os.Environ(), "TAPGATE_STATE_DIR="+t.TempDir(), "TAPGATE_BPFFS=")
		// Go makes these mounts private.
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := c.CombinedOutput()
		t.Logf("%s", out)
		return err
	})
	if err != nil {
		t.Errorf("with %s: %v", strings.TrimPrefix(capabilities, ","), err)
	}
}
