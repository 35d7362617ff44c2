package datapath

import (
	"sync"

	"golang.org/x/sys/unix"
)

// waitForPrograms returns when no CPU runs a program any more that was
// replaced before the call: its counts are final then, and its slot may go to
// another. The kernel waits for readers of RCU, as programs are. Where it cannot
// (nohz_full), the packets of that moment may miss in the sum.
func waitForPrograms() { allWaits.join() }

var allWaits waits

// waits lets those who come while the kernel is waited for share the next wait.
type waits struct {
	mu      sync.Mutex
	next    chan struct{} // closed when the wait is over that has not begun yet
	running bool
}

func (w *waits) join() {
	w.mu.Lock()
	if w.next == nil {
		w.next = make(chan struct{})
	}
	next := w.next
	if !w.running {
		w.running = true
		go w.run()
	}
	w.mu.Unlock()
	<-next
}

func (w *waits) run() {
	for {
		w.mu.Lock()
		current := w.next
		w.next = nil
		w.running = current != nil
		w.mu.Unlock()
		if current == nil {
			return
		}
		const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL
		_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
		close(current)
	}
}
