package lab

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"path"
)

// file is one that a virtual machine finds when it boots.
type file struct {
	name string // without a slash in front
	mode fs.FileMode
	// content is the target of a symbolic link.
	content []byte
}

// initramfs packs files as a kernel wants them: a cpio archive of the form "newc", compressed
// (Documentation/driver-api/early-userspace/buffer-format.rst). Directories are made as they are needed.
func initramfs(files []file) ([]byte, error) {
	var packed bytes.Buffer
	compress := gzip.NewWriter(&packed)
	archive := &cpio{to: compress, have: map[string]bool{".": true}}
	for _, f := range files {
		archive.add(f)
	}
	archive.entry(file{name: "TRAILER!!!"}, 0)
	if archive.err == nil {
		archive.err = compress.Close()
	}
	return packed.Bytes(), archive.err
}

type cpio struct {
	to   *gzip.Writer
	have map[string]bool
	n    uint32
	err  error
}

// File types of <linux/stat.h>.
const (
	typeDirectory = 0o040000
	typeFile      = 0o100000
	typeLink      = 0o120000
)

func (c *cpio) add(f file) {
	if parent := path.Dir(f.name); !c.have[parent] {
		c.add(file{name: parent, mode: fs.ModeDir | 0o755})
	}
	c.have[f.name] = true
	kind := uint32(typeFile)
	switch {
	case f.mode.IsDir():
		kind = typeDirectory
	case f.mode&fs.ModeSymlink != 0:
		kind = typeLink
	}
	c.entry(f, kind|uint32(f.mode.Perm()))
}

// entry writes a header of 110 bytes, the name and the content, each filled up to a multiple of four.
func (c *cpio) entry(f file, mode uint32) {
	if c.err != nil {
		return
	}
	c.n++
	name := append([]byte(f.name), 0)
	var entry bytes.Buffer
	fmt.Fprintf(&entry, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		c.n, mode, 0, 0, 1, 0, len(f.content), 0, 0, 0, 0, len(name), 0)
	for _, part := range [][]byte{name, f.content} {
		entry.Write(part)
		entry.Write(make([]byte, -entry.Len()&3))
	}
	_, c.err = c.to.Write(entry.Bytes())
}
