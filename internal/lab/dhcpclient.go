package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// DHCPClient is a program that real guests use.
type DHCPClient string

// The clients.
const (
	// Udhcpc is busybox's: small guests, and installers. Of IPv4 only. It takes no lease for shorter
	// than 16 seconds.
	Udhcpc DHCPClient = "udhcpc"
	// Dhclient is ISC's. It takes leases of any time.
	Dhclient DHCPClient = "dhclient"
	// Dhcpcd looks by itself whether an address is in use, and declines it. It sets addresses by
	// itself, and takes no lease for shorter than 20 seconds.
	Dhcpcd DHCPClient = "dhcpcd"
)

// takeLease is what udhcpc and dhclient call when something has happened to their lease: it gives the
// address to the device. Each client has a file in which it keeps what it has given, so that several
// can be at work on one device.
const takeLease = `#!/bin/sh
event=${reason:-$1}
old=$(cat "$LAB_HELD" 2>/dev/null)
new=
case $event in
bound|renew) new=$ip/$mask ;;
BOUND|RENEW|REBIND|REBOOT) new=$new_ip_address/$(echo "$new_subnet_mask" | sed 's/255.255.255.0/24/; s/255.255.0.0/16/') ;;
BOUND6|RENEW6|REBIND6)
	new=$new_ip6_address/128
	# It is called for the prefix by itself.
	if [ -z "$new_ip6_address" ]; then echo "lab: $event $new_ip6_prefix"; exit 0; fi ;;
DEPREF6) exit 0 ;;
PREINIT|MEDIUM|ARPCHECK|ARPSEND) busybox ip link set "$interface" up; exit 0 ;;
PREINIT6) exit 0 ;;
nak|leasefail|TIMEOUT) echo "lab: $event"; exit 0 ;;
esac
if [ -n "$new" ] && [ "$new" != "$old" ]; then
	if [ -n "$LAB_IN_USE" ] && [ "${new%/*}" = "$LAB_IN_USE" ]; then exit 1; fi
	busybox ip addr add "$new" dev "$interface"
fi
if [ -n "$old" ] && [ "$new" != "$old" ]; then busybox ip addr del "$old" dev "$interface"; fi
echo "$new" >"$LAB_HELD"
echo "lab: $event $new"
exit 0
`

// ownState runs a program with places of its own to keep its state, so that it neither meets another
// one nor leaves anything on the machine.
const ownState = `
mount -t tmpfs -o mode=0755 tmpfs /run
for dir in /var/lib/dhcp /var/lib/dhcpcd; do [ ! -d $dir ] || mount -t tmpfs -o mode=0755 tmpfs $dir; done
exec "$@"`

// DHCPClientConfig says how a client is started.
type DHCPClientConfig struct {
	Client DHCPClient
	// IPv6 makes it ask for an address by DHCPv6 and not by DHCP; Prefix for a prefix (IA_PD) beside it.
	IPv6, Prefix bool
	// Dir is where its files are. Each client needs one of its own.
	Dir string
	// ID is the client identifier, by which a server tells the clients of one device apart.
	ID string
	// Release makes udhcpc give its address back when it is stopped.
	Release bool
	// InUse is an address that dhclient finds in use, and declines.
	InUse string
	// Options are more arguments.
	Options []string
}

// RunDHCPClient starts a client, which goes on renewing until it is stopped. "lab: bound …" and the like
// in its output tell what has happened, but not of Dhcpcd; see WaitAddress.
func (l *Lab) RunDHCPClient(guest *Guest, config DHCPClientConfig) (*Program, error) {
	pkg := map[DHCPClient]string{Udhcpc: "udhcpc busybox", Dhclient: "isc-dhcp-client busybox", Dhcpcd: "dhcpcd-base"}[config.Client]
	path, err := find(string(config.Client), pkg)
	if err != nil {
		return nil, err
	}
	for _, tool := range [][2]string{{"unshare", "util-linux"}, {"mount", "mount"}} {
		if _, err := find(tool[0], tool[1]); err != nil {
			return nil, err
		}
	}
	// An address that is removed must not take the others of its subnet along.
	if err := guest.SetSysctl("ipv4/conf/"+GuestDevice+"/promote_secondaries", "1"); err != nil {
		return nil, err
	}
	script := filepath.Join(config.Dir, "script")
	if err := writeNew(script, takeLease, 0o755); err != nil {
		return nil, fmt.Errorf("run %s: %w", config.Client, err)
	}
	environment := []string{"LAB_HELD=" + filepath.Join(config.Dir, "held"), "LAB_IN_USE=" + config.InUse}
	var args []string
	switch config.Client {
	case Udhcpc:
		// Three requests a second apart, then again after two seconds.
		args = []string{"-f", "-i", GuestDevice, "-s", script, "-t", "3", "-T", "1", "-A", "2"}
		if config.ID != "" {
			args = append(args, "-x", fmt.Sprintf("0x3d:%x", "\x00"+config.ID))
		}
		if config.Release {
			args = append(args, "-R")
		}
	case Dhclient:
		conf := filepath.Join(config.Dir, "conf")
		text := "initial-interval 1;\nbackoff-cutoff 2;\nretry 2;\ntimeout 5;\nreboot 2;\n"
		if config.ID != "" {
			text += fmt.Sprintf("send dhcp-client-identifier %q;\n", config.ID)
		}
		if err := writeNew(conf, text, 0o644); err != nil {
			return nil, fmt.Errorf("run %s: %w", config.Client, err)
		}
		args = []string{"-d", "-v", "-sf", script, "-cf", conf, "-pf", filepath.Join(config.Dir, "pid"), "-lf", filepath.Join(config.Dir, "leases")}
		// The script gets no environment but this.
		for _, e := range environment {
			args = append(args, "-e", e)
		}
		if config.IPv6 {
			args = append(args, "-6", "-N", "-D", "LL")
		}
		if config.Prefix {
			args = append(args, "-P")
		}
		args = append(args, GuestDevice)
	case Dhcpcd:
		conf := filepath.Join(config.Dir, "conf")
		text := "noipv6rs\nnoipv4ll\noption subnet_mask\nreboot 2\n"
		switch {
		case config.Prefix:
			text += "ipv6only\ninterface " + GuestDevice + "\nia_na 1\nia_pd 2\n"
		case config.IPv6:
			text += "ipv6only\ninterface " + GuestDevice + "\nia_na 1\n"
		default:
			text += "ipv4only\n"
		}
		if config.ID != "" {
			text += "clientid " + config.ID + "\n"
		}
		if err := writeNew(conf, text, 0o644); err != nil {
			return nil, fmt.Errorf("run %s: %w", config.Client, err)
		}
		args = []string{"--nobackground", "--config", conf, "--script", "/bin/true", "--debug", GuestDevice}
	}
	command := append([]string{"--mount", "--propagation", "private", "sh", "-euc", ownState, "sh", path}, append(args, config.Options...)...)
	c := exec.Command("unshare", command...)
	c.Env = append(os.Environ(), environment...)
	c.Dir = config.Dir
	p, err := l.Run(guest, c)
	if err != nil {
		return nil, err
	}
	p.name = strings.Join(append([]string{string(config.Client)}, args...), " ")
	return p, nil
}

// writeNew writes a file that may be there already, from a client before.
func writeNew(path, text string, mode os.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}
