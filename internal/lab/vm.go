package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
)

// KernelVariable is where a virtual machine's kernel is looked for: the variable names a directory that
// has boot/vmlinuz-* and lib/modules/*, such as a package of Debian's that is unpacked. Without it,
// the kernel of this machine is taken if it has one of its own.
const KernelVariable = "TAPGATE_GUEST_KERNEL"

// VMConfig says how a virtual machine looks.
type VMConfig struct {
	// Name of its port, a tap device.
	Name string
	MAC  net.HardwareAddr
	// Script is run by its shell once its network card, eth0, is there. It has busybox's commands, and what
	// it prints is the program's output.
	Script string
	// Files are more files, by their full names; they can be executed.
	Files map[string]string
	// Dir is where its files are on this machine.
	Dir string
}

// VM is a guest with a kernel of its own, in software emulation, since a machine for tests is often a virtual
// one itself.
type VM struct {
	*Program
	// Port is the tap device in the host namespace.
	Port string
	MAC  net.HardwareAddr
}

// AddVMPort makes the tap device that a virtual machine will use and adds it to the bridge. It carries
// frames as soon as the machine runs. It is removed with the lab.
func (l *Lab) AddVMPort(name string) error {
	tap := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: name},
		Mode:      netlink.TUNTAP_MODE_TAP,
		Flags:     netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR,
		// It stays when the descriptor that it is made with is closed.
		NonPersist: false,
	}
	err := l.Host.Do(func() error { return netlink.LinkAdd(tap) })
	if err != nil {
		return fmt.Errorf("add tap device %s: %w", name, err)
	}
	return l.plug(name)
}

// AddVM boots a virtual machine at a port that AddVMPort has made. It returns when the machine is on its way.
func (l *Lab) AddVM(config VMConfig) (*VM, error) {
	qemu, err := find("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return nil, err
	}
	if runtime.GOARCH != "amd64" && os.Getenv(KernelVariable) == "" {
		return nil, &MissingError{"a kernel for x86-64 in a directory that " + KernelVariable + " names", "linux-image-cloud-amd64"}
	}
	kernel, err := findKernel()
	if err != nil {
		return nil, err
	}
	files, err := config.files(kernel)
	if err != nil {
		return nil, fmt.Errorf("boot virtual machine %s: %w", config.Name, err)
	}
	packed, err := initramfs(files)
	initrd := filepath.Join(config.Dir, "initramfs")
	if err == nil {
		err = os.WriteFile(initrd, packed, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("boot virtual machine %s: %w", config.Name, err)
	}
	p, err := l.RunOnHost(exec.Command(qemu,
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "192", "-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none", "-serial", "stdio",
		"-kernel", kernel.image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 tsc=unstable mitigations=off",
		"-netdev", "tap,id=card,ifname="+config.Name+",script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=card,romfile=,mac="+config.MAC.String()))
	if err != nil {
		return nil, err
	}
	return &VM{p, config.Name, config.MAC}, nil
}

// kernel is one for virtual machines.
type kernel struct {
	image   string
	modules []module
}

// findKernel gives the newest kernel that there is.
func findKernel() (kernel, error) {
	missing := &MissingError{"a kernel for virtual machines in a directory that " + KernelVariable + " names", "linux-image-cloud-amd64"}
	root := os.Getenv(KernelVariable)
	if root == "" {
		root = "/"
	}
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		return kernel{}, missing
	}
	k := kernel{image: slices.Max(images)}
	version := filepath.Base(k.image)[len("vmlinuz-"):]
	for _, tree := range []string{"lib", "usr/lib"} {
		k.modules, err = cardModules(filepath.Join(root, tree, "modules", version, "kernel"))
		if !errors.Is(err, fs.ErrNotExist) {
			return k, err
		}
	}
	return kernel{}, missing
}

// files are what the machine finds when it boots.
func (config *VMConfig) files(k kernel) ([]file, error) {
	path, err := find("busybox", "busybox-static")
	if err != nil {
		return nil, err
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(busybox, []byte("/ld-linux")) {
		return nil, &MissingError{"a busybox that needs no library", "busybox-static"}
	}
	init := "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n" +
		"mount -t proc proc /proc\nmount -t sysfs sysfs /sys\nmount -t devtmpfs dev /dev\n"
	files := []file{{"bin/busybox", 0o755, busybox}, {"bin/sh", fs.ModeSymlink | 0o777, []byte("busybox")}}
	for _, dir := range []string{"proc", "sys", "dev", "tmp"} {
		files = append(files, file{dir, fs.ModeDir | 0o755, nil})
	}
	for _, m := range k.modules {
		name := "modules/" + m.name + ".ko"
		files = append(files, file{name, 0o644, m.content})
		init += "insmod /" + name + "\n"
	}
	init += "ip link set lo up\nuntil ip link set " + GuestDevice + " up 2>/dev/null; do usleep 10000; done\n" + config.Script + "\n" +
		"echo lab: the script has ended\npoweroff -f\n"
	files = append(files, file{"init", 0o755, []byte(init)})
	for name, content := range config.Files {
		files = append(files, file{name[1:], 0o755, []byte(content)})
	}
	return files, nil
}

// Booted returns when the machine has printed a text; if it has ended before, or does not print it in time, the error
// tells what it has printed.
func (vm *VM) Booted(ctx context.Context, text string) error {
	if err := vm.Says(ctx, text, 0); err != nil {
		return errors.Join(errors.New("the virtual machine does not come up"), err)
	}
	return nil
}
