package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"tapgate/internal/policy"
)

// Names in the directory of a generation. Maps have their own names, none of
// which begins with program_.
const (
	bindingPin = "binding"
	// carriedPin holds the counts of the generation before; there once they
	// are taken over.
	carriedPin = "carried"
	programPin = "program_"
)

// asideName is the directory in which a generation is built, removedPrefix
// begins the name of one that is being removed.
const (
	asideName     = "new"
	removedPrefix = "old_"
)

// generation is one pair of programs with the maps that belong to it.
type generation struct {
	dir      string
	number   int
	binding  Binding
	programs [2]ebpf.ProgramID
}

// readGeneration reads a generation. What somebody took away is left out, so
// that the port can still be released or guarded anew.
func readGeneration(dir string, number int) (*generation, error) {
	g := &generation{dir: dir, number: number}
	if err := readJSON(filepath.Join(dir, bindingPin), &g.binding); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// The port may have got another name since (Follow).
	g.binding.Port = unescapeName(filepath.Base(filepath.Dir(dir)))
	for _, d := range policy.Directions {
		p, err := g.program(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		g.programs[d], err = programID(p)
		p.Close()
		if err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *generation) program(d policy.Direction) (*ebpf.Program, error) {
	return ebpf.LoadPinnedProgram(filepath.Join(g.dir, programPin+d.String()), nil)
}

func (g *generation) openMap(name string) (*ebpf.Map, error) {
	return ebpf.LoadPinnedMap(filepath.Join(g.dir, name), nil)
}

// remove takes a generation away. The first step takes it out of the port, the
// rest can be made up for by sweepLeftovers.
func (g *generation) remove() error {
	away := filepath.Join(filepath.Dir(g.dir), fmt.Sprintf("%s%d", removedPrefix, g.number))
	if err := os.Rename(g.dir, away); err != nil {
		return err
	}
	return os.RemoveAll(away)
}

// isWhole tells whether nothing of it was taken away when it was read.
func (g *generation) isWhole() bool {
	return g.binding.Number != 0 && g.programs[policy.In] != 0 && g.programs[policy.Out] != 0
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, fmt.Errorf("identify program: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return 0, errors.New("identify program: the kernel gives no ID")
	}
	return id, nil
}
