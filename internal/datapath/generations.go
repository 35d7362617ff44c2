package datapath

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"tapgate/internal/policy"
)

// generations remembers what was read of ports' generations: a whole one never
// changes, and to read it again takes longer than everything else about a port.
// That it is still there is looked at each time.
type generations struct {
	mu sync.Mutex
	// known are by the port's directory and the generation's number.
	known map[string]map[int]knownGeneration
}

type knownGeneration struct {
	generation
	// file is its binding's: another one of that name is another generation.
	file fs.FileInfo
}

// of reads all generations of a port, the oldest first.
func (r *generations) of(portDir string) ([]*generation, error) {
	entries, err := os.ReadDir(portDir)
	if err != nil {
		r.remember(portDir, nil)
		return nil, err
	}
	r.mu.Lock()
	before := r.known[portDir]
	r.mu.Unlock()
	now := map[int]knownGeneration{}
	var list []*generation
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		dir := filepath.Join(portDir, e.Name())
		file, _ := os.Stat(filepath.Join(dir, bindingPin)) // nil if it is gone
		known, ok := before[number]
		if !ok || file == nil || !os.SameFile(file, known.file) || !known.isThere() {
			g, err := readGeneration(dir, number)
			if err != nil {
				return nil, err
			}
			known = knownGeneration{*g, file}
		}
		if file != nil && known.isWhole() {
			now[number] = known
		}
		list = append(list, &known.generation)
	}
	r.remember(portDir, now)
	slices.SortFunc(list, func(a, b *generation) int { return a.number - b.number })
	return list, nil
}

// add remembers a generation that was just made.
func (r *generations) add(portDir string, g *generation) {
	file, err := os.Stat(filepath.Join(g.dir, bindingPin))
	if err != nil || !g.isWhole() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := map[int]knownGeneration{g.number: {*g, file}}
	for number, known := range r.known[portDir] {
		if number != g.number {
			now[number] = known
		}
	}
	if r.known == nil {
		r.known = map[string]map[int]knownGeneration{}
	}
	r.known[portDir] = now
}

func (r *generations) remember(portDir string, now map[int]knownGeneration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(now) == 0 {
		delete(r.known, portDir)
		return
	}
	if r.known == nil {
		r.known = map[string]map[int]knownGeneration{}
	}
	r.known[portDir] = now
}

// isThere tells whether both programs are still pinned.
func (g *generation) isThere() bool {
	for _, d := range policy.Directions {
		if !exists(filepath.Join(g.dir, programPin+d.String())) {
			return false
		}
	}
	return true
}
