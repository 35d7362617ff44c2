package agent

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"tapgate/internal/datapath"
)

func (a *Agent) defaultFilter() *DefaultFilter {
	if a.daemon == nil {
		return nil
	}
	return a.daemon.Default
}

// fault says why a port does not enforce what it should; "" if it does.
func (a *Agent) fault(port string) string {
	a.shared.Lock()
	defer a.shared.Unlock()
	return a.shared.faults[port]
}

// setFault notes a port's fault, "" for none any more. It is logged when it is
// another than before.
func (a *Agent) setFault(port, fault string) {
	a.shared.Lock()
	before := a.shared.faults[port]
	if fault == "" {
		delete(a.shared.faults, port)
	} else {
		a.shared.faults[port] = fault
	}
	a.shared.Unlock()
	switch {
	case fault == before:
	case fault == "":
		a.log.Info("port is as it should be again", "port", port)
	default:
		a.log.Error("port does not enforce what it should", "port", port, "fault", fault)
	}
}

// setGeneral notes a fault that is no port's, under a word for what failed.
func (a *Agent) setGeneral(what string, err error) {
	text := ""
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return
		}
		text = what + ": " + err.Error()
	}
	a.shared.Lock()
	before := a.shared.general[what]
	a.shared.general[what] = text
	a.shared.Unlock()
	if text != "" && text != before {
		a.log.Error(text)
	}
}

// setState notes how a port stands; "" if it is no more.
func (a *Agent) setState(port string, state datapath.State) {
	a.shared.Lock()
	defer a.shared.Unlock()
	if state == "" {
		delete(a.shared.states, port)
		return
	}
	a.shared.states[port] = state
}

// remember notes how ports stand after a pass.
func (p *pass) remember() {
	p.shared.Lock()
	defer p.shared.Unlock()
	if p.all {
		clear(p.shared.states)
	}
	for _, name := range p.names {
		delete(p.shared.states, name)
	}
	for name, s := range p.standing {
		if !slices.Contains(p.gone, name) {
			p.shared.states[name] = stateOf(s.State, s.Learning)
		}
	}
	for _, name := range p.waiting {
		p.shared.states[name] = Waiting
	}
	for _, j := range p.jobs {
		if j.err == nil {
			p.shared.states[j.port] = j.want.state()
		}
	}
	for _, failure := range p.settled {
		if !inForce(p.standing[failure.Port]) {
			p.shared.states[failure.Port] = datapath.Shut
		}
	}
}

// Status tells how the agent stands.
func (a *Agent) Status(context.Context) Status {
	s := a.about
	if a.daemon == nil {
		return s
	}
	a.shared.Lock()
	defer a.shared.Unlock()
	d := &DaemonStatus{PID: os.Getpid(), Since: a.since.UTC().Format(time.RFC3339), Ready: a.ready.Load(), Ports: map[string]int{}, Start: slices.Clone(a.shared.start)}
	for _, what := range slices.Sorted(maps.Keys(a.shared.general)) {
		if text := a.shared.general[what]; text != "" {
			d.Faults = append(d.Faults, text)
		}
	}
	for _, port := range slices.Sorted(maps.Keys(a.shared.faults)) {
		d.Faults = append(d.Faults, "port "+port+": "+a.shared.faults[port])
	}
	for _, state := range a.shared.states {
		d.Ports[string(state)]++
	}
	s.Daemon = d
	return s
}
