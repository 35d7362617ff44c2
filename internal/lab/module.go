package lab

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is one of a kernel's.
type module struct {
	name    string
	content []byte
}

// cardModules reads those that make a virtio network card work, below a directory, each behind those
// that it needs. What is not there is built into the kernel.
func cardModules(dir string) ([]module, error) {
	paths := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if name, _, is := strings.Cut(filepath.Base(path), ".ko"); err == nil && is {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var ordered []module
	var add func(name string) error
	add = func(name string) error {
		path, ok := paths[name]
		if !ok {
			return nil
		}
		delete(paths, name)
		content, err := readModule(path)
		if err != nil {
			return err
		}
		needs, err := dependencies(content)
		if err != nil {
			return fmt.Errorf("read module %s: %w", path, err)
		}
		for _, other := range needs {
			if err := add(other); err != nil {
				return err
			}
		}
		ordered = append(ordered, module{name, content})
		return nil
	}
	for _, name := range []string{"virtio_pci", "virtio_net"} {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// readModule reads one that may be compressed.
func readModule(path string) ([]byte, error) {
	if filepath.Ext(path) != ".xz" {
		return os.ReadFile(path)
	}
	xz, err := find("xz", "xz-utils")
	if err != nil {
		return nil, err
	}
	return exec.Command(xz, "--decompress", "--stdout", path).Output()
}

// dependencies are the modules that one needs, as it says in itself.
func dependencies(content []byte) ([]string, error) {
	parsed, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	section := parsed.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no section .modinfo")
	}
	text, err := section.Data()
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Split(string(text), "\x00") {
		if names, is := strings.CutPrefix(word, "depends="); is && names != "" {
			return strings.Split(strings.ReplaceAll(names, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
