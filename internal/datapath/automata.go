package datapath

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// automataMap holds the helpers' automata: one for all ports whose programs
// read the same grammars. It has no part in the layout of the shared maps, so
// that other grammars do not make connections start anew.
const automataMap = "automata"

// openAutomata opens the map, and makes it if it is the first. The caller holds
// a port's lock, so that the port's directory keeps it from being removed.
func (h *Host) openAutomata(ctx context.Context, spec *ebpf.CollectionSpec) (*ebpf.Map, error) {
	l, err := h.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer l.unlock()
	dir := filepath.Join(h.dir, "automata_"+contentsOf(spec.Maps[automataMap]))
	m, err := openAutomaton(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	err = h.makeAside(dir, func(aside string) error {
		made, err := ebpf.NewMap(spec.Maps[automataMap])
		if err != nil {
			return err
		}
		defer made.Close()
		if err := made.Freeze(); err != nil {
			return err
		}
		return made.Pin(filepath.Join(aside, automataMap))
	})
	if err != nil {
		return nil, fmt.Errorf("make the helpers' automata: %w", needsRoot(err))
	}
	return openAutomaton(dir)
}

func openAutomaton(dir string) (*ebpf.Map, error) {
	return ebpf.LoadPinnedMap(filepath.Join(dir, automataMap), &ebpf.LoadPinOptions{ReadOnly: true})
}

// makeAside fills a directory under another name and renames it into place.
func (h *Host) makeAside(dir string, fill func(aside string) error) error {
	aside := filepath.Join(h.dir, "new")
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if err := fill(aside); err != nil {
		return err
	}
	return os.Rename(aside, dir)
}

// contentsOf sums up what the map is to hold.
func contentsOf(m *ebpf.MapSpec) string {
	sum := sha256.New()
	fmt.Fprintln(sum, mapLayout(m))
	sum.Write(m.Contents[0].Value.([]byte))
	return hex.EncodeToString(sum.Sum(nil)[:6])
}
