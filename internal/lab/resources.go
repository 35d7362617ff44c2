package lab

import (
	"io"
	"sync"
)

// resources is the set of open things that must not outlive their namespace.
type resources struct {
	mu   sync.Mutex
	open map[io.Closer]struct{}
}

func (r *resources) add(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[io.Closer]struct{}{}
	}
	r.open[c] = struct{}{}
}

// remove is called by a resource that its user closes.
func (r *resources) remove(c io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c)
}

func (r *resources) closeAll() {
	r.mu.Lock()
	open := r.open
	r.open = nil
	r.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
}
