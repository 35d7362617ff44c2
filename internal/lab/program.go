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
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
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
	p := &Program{name: cmd.Args[0], cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.output
	}
	cmd.Stderr = &p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child that leaves its group may hold the output open.
	cmd.WaitDelay = programEnd
	if err := guest.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("run %s in %s: %w", p.name, guest.name, err)
	}
	run := func() {
		p.err = cmd.Wait()
		close(p.ended)
	}
	if err := l.serve(run, p.Stop); err != nil {
		return nil, fmt.Errorf("run %s in %s: %w", p.name, guest.name, err)
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
