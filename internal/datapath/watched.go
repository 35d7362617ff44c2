package datapath

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// generationID names a generation for good, as long as the host runs.
type generationID struct{ port, generation uint32 }

// catalogue knows the generations that reports name, by what is pinned. It
// remembers those that were replaced for a while: their last reports come later.
type catalogue struct {
	dir string

	mu    sync.Mutex
	known map[generationID]*catalogued
	pins  map[string]pinned // by path, those of the last look
}

type catalogued struct {
	*Binding
	seen time.Time
}

type pinned struct {
	file fs.FileInfo // another file of the same name is another generation
	id   generationID
}

// remembered is how long a generation is known that is not there any more.
const remembered = time.Minute

func newCatalogue(h *Host) *catalogue {
	return &catalogue{
		dir:   filepath.Join(h.dir, "ports"),
		known: map[generationID]*catalogued{}, pins: map[string]pinned{},
	}
}

// refresh reads what is new. A generation is renamed into place when it is
// whole, so that no lock is needed.
func (c *catalogue) refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look()
}

func (c *catalogue) look() error {
	for id, g := range c.known {
		if time.Since(g.seen) > remembered {
			delete(c.known, id)
		}
	}
	before := c.pins
	c.pins = map[string]pinned{}
	ports, err := os.ReadDir(c.dir)
	if err != nil {
		return needsRoot(err)
	}
	for _, port := range ports {
		dir := filepath.Join(c.dir, port.Name())
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return needsRoot(err)
		}
		for _, e := range entries {
			number, err := strconv.ParseUint(e.Name(), 10, 32)
			if err != nil { // none, or not yet
				continue
			}
			path := filepath.Join(dir, e.Name(), bindingPin)
			if err := c.read(path, uint32(number), before[path]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return needsRoot(err)
			}
		}
	}
	return nil
}

// read takes in a generation, unless it is the one that was there before.
func (c *catalogue) read(path string, number uint32, pin pinned) error {
	file, err := os.Stat(path)
	if err != nil {
		return err
	}
	if pin.file == nil || !os.SameFile(pin.file, file) || c.known[pin.id] == nil {
		binding := &Binding{}
		if err := readJSON(path, binding); err != nil {
			return err
		}
		// The port may have got another name since (Follow).
		binding.Port = unescapeName(filepath.Base(filepath.Dir(filepath.Dir(path))))
		pin = pinned{file, generationID{binding.Number, number}}
		c.known[pin.id] = &catalogued{Binding: binding}
	}
	c.pins[path] = pin
	c.known[pin.id].seen = time.Now()
	return nil
}

// find gives a generation's binding, nil if it came and went unseen.
func (c *catalogue) find(id generationID) (*Binding, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.known[id]; g != nil {
		return g.Binding, nil
	}
	if err := c.look(); err != nil {
		return nil, err
	}
	if g := c.known[id]; g != nil {
		return g.Binding, nil
	}
	return nil, nil
}

// ports gives the newest binding of each port that is guarded, by name.
func (c *catalogue) ports() []*Binding {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := map[string]generationID{}
	for _, pin := range c.pins {
		name := c.known[pin.id].Port
		if pin.id.generation > newest[name].generation {
			newest[name] = pin.id
		}
	}
	var list []*Binding
	for _, name := range slices.Sorted(maps.Keys(newest)) {
		list = append(list, c.known[newest[name]].Binding)
	}
	return list
}

// names gives the ports' names by number, those too that were released lately.
func (c *catalogue) names() map[uint32]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[uint32]string{}
	for id, g := range c.known {
		names[id.port] = g.Port
	}
	return names
}
