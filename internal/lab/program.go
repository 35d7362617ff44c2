package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// programEnd is how long a program that is asked to end may take before it is killed.
const programEnd = time.Second

// Program is a process in a guest, such as a server that others have written. What it prints is
// kept.
type Program struct {
	name   string
	cmd    *exec.Cmd
	output lockedBuffer
	ended  chan struct{}
	err    error // valid when ended is closed
}

// lockedBuffer may be read while a process writes into it.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	// grew is closed, and made anew, when something is written.
	grew chan struct{}
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.grew != nil {
		close(b.grew)
		b.grew = nil
	}
	return b.buffer.Write(text)
}

// growing gives what is there, and what is closed when there is more.
func (b *lockedBuffer) growing() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.grew == nil {
		b.grew = make(chan struct{})
	}
	return b.buffer.String(), b.grew
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// Run starts a program in the guest and a process group of its own; the lab's end ends it. The
// command may have an environment, a directory and files, but has not been started, and its output
// is the Program's.
func (l *Lab) Run(guest *Guest, cmd *exec.Cmd) (*Program, error) {
	return l.run(guest.Namespace, cmd)
}

// RunOnHost is Run for a program that runs where the ports are.
func (l *Lab) RunOnHost(cmd *exec.Cmd) (*Program, error) { return l.run(l.Host, cmd) }

func (l *Lab) run(ns *Namespace, cmd *exec.Cmd) (*Program, error) {
	p := &Program{name: cmd.Args[0], cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	cmd.Stderr = &p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child that leaves its group may hold the output open.
	cmd.WaitDelay = programEnd
	if err := ns.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("run %s in %s: %w", p.name, ns.name, err)
	}
	run := func() {
		p.err = cmd.Wait()
		close(p.ended)
	}
	if err := l.serve(run, p.Stop); err != nil {
		return nil, fmt.Errorf("run %s in %s: %w", p.name, ns.name, err)
	}
	return p, nil
}

// Stop ends the program and those that it has started, and returns when it is over.
func (p *Program) Stop() {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(programEnd):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.ended
}

// Wait returns when the program has ended. The error says what it printed, if it did not succeed.
func (p *Program) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("%s: %w:\n%s", p.name, p.err, p.Output())
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w, having printed:\n%s", p.name, ctx.Err(), p.Output())
	}
}

// Says returns when the program has printed a text since the mark, which is what Mark gave before, or
// 0 for all that it has printed.
func (p *Program) Says(ctx context.Context, text string, mark int) error {
	for {
		said, grew := p.output.growing()
		if strings.Contains(said[mark:], text) {
			return nil
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return fmt.Errorf("%s does not say %q: %w; it has said:\n%s", p.name, text, ctx.Err(), said)
		case <-p.ended:
			if said = p.Output(); strings.Contains(said[mark:], text) {
				return nil
			}
			return fmt.Errorf("%s has ended and did not say %q, but:\n%s", p.name, text, said)
		}
	}
}

// Mark is how much the program has printed so far.
func (p *Program) Mark() int { return len(p.Output()) }

// Signal sends a signal to the program itself.
func (p *Program) Signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %s to %s: %w", signal, p.name, err)
	}
	return nil
}

// Output is what the program has printed so far, on either stream.
func (p *Program) Output() string { return p.output.String() }

// Listening returns when a program in the namespace waits for connections or datagrams ("tcp",
// "udp") at the port, of either IP version. A program tells nobody, so it is looked up in
// /proc/net now and then.
func (ns *Namespace) Listening(ctx context.Context, network string, port uint16) error {
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		found, err := ns.listens(network, port)
		if found || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for a server at %s port %d of %s: %w", network, port, ns.name, ctx.Err())
		}
	}
}

func (ns *Namespace) listens(network string, port uint16) (found bool, err error) {
	const tcpListen, udpUnconnected = "0A", "07" // as in /proc/net
	err = ns.Do(func() error {
		for _, version := range []string{"", "6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + network + version)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				fields := strings.Fields(line)
				if len(fields) < 4 || fields[3] != tcpListen && fields[3] != udpUnconnected {
					continue
				}
				_, hex, _ := strings.Cut(fields[1], ":")
				n, err := strconv.ParseUint(hex, 16, 16)
				found = found || err == nil && uint16(n) == port
			}
		}
		return nil
	})
	return found, err
}
