package lab

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestAVirtualMachineBootsAndAnswers gives one an address by hand.
func TestAVirtualMachineBootsAndAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine in software, which takes seconds")
	}
	l := newLab(t)
	if err := l.AddVMPort("vm0"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	vm, err := l.AddVM(VMConfig{
		Name: "vm0", Dir: t.TempDir(), MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x50},
		Script: "ip addr add 10.77.0.50/24 dev eth0\nmkdir /www\necho hello from the lab >/www/index.html\nhttpd -h /www\necho lab: ready\nsleep 1000",
	})
	started(t, err)
	if err := vm.Booted(within(t, 50*time.Second), "lab: ready"); err != nil {
		t.Fatal(err)
	}
	t.Logf("booted after %s", time.Since(begin))
	address := netip.MustParseAddr("10.77.0.50")
	if err := Ping(t.Context(), l.Neighbour.Namespace, address); err != nil {
		t.Error(err)
	}
	if err := HTTP(t.Context(), l.Neighbour.Namespace, netip.AddrPortFrom(address, HTTPPort)); err != nil {
		t.Error(err)
	}
}
