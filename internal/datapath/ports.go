package datapath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
)

// State is how a port stands.
type State string

// The states.
const (
	// Guarded: both directions are judged by one policy.
	Guarded State = "guarded"
	// HalfSwapped: a change was interrupted between the directions, which are
	// judged by successive policies. Binding the port again ends it.
	HalfSwapped State = "half swapped"
	// Unguarded: the device is there, but a direction is not judged: the
	// device is another one than was bound, or somebody took a program off.
	Unguarded State = "unguarded"
	// DeviceGone: there is no such device any more.
	DeviceGone State = "device gone"
	// Foreign: somebody put another program in the place of ours.
	Foreign State = "foreign program"
	// Shut: a direction, or both, drops everything: the policy that should be in
	// force could not be put there.
	Shut State = "shut"
	// Elsewhere: the port was bound in another network namespace by clsact,
	// which cannot be seen from here.
	Elsewhere State = "in another namespace"
)

// Port is a port as it stands.
type Port struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Device is the name that the guarded device has now, and Ifindex its
	// index; empty if it is gone or in another namespace.
	Device  string `json:"device,omitempty"`
	Ifindex int    `json:"ifindex,omitempty"`
	// Mechanism by which programs are attached, if any are.
	Mechanism  Mechanism           `json:"mechanism,omitempty"`
	Filter     string              `json:"filter"`
	MAC        string              `json:"mac"`
	Parameters map[string][]string `json:"parameters,omitempty"`
	// Settings are those in force.
	Settings settings.Values `json:"settings,omitempty"`
	BoundAt  time.Time       `json:"bound_at"`
	// Digest is the one that Guard was given, of what is in force.
	Digest string `json:"-"`
	// Outdated is set if the programs are those of another version of tapgate.
	Outdated bool   `json:"outdated,omitempty"`
	In       Totals `json:"in"`
	Out      Totals `json:"out"`
	// Connections that are kept now, expired ones until they are swept.
	Connections uint32 `json:"connections"`
	// Opened counts connections.
	Opened uint64 `json:"opened"`
	// Sets are the kernel sets that the filter names, as they were last read.
	Sets []SetState `json:"sets,omitempty"`
	// Learning is set where the guest's addresses are learned.
	Learning *Learning `json:"learning,omitempty"`
	// Observed counts what was copied to whoever learns.
	Observed Observed `json:"observed,omitzero"`
	// Number names the port in an Observation; 0 for a port that is shut and was
	// never guarded.
	Number uint32 `json:"-"`
}

// Ports lists all ports by name.
func (h *Host) Ports(ctx context.Context) ([]Port, error) {
	names, err := h.names()
	if err != nil {
		return nil, err
	}
	return h.list(ctx, names, h.describePort)
}

// Survey tells how ports stand, all if none are named, without anything that is
// counted and without the sets, which takes a fraction of the time of Ports. A
// port that is neither guarded nor shut is left out.
func (h *Host) Survey(ctx context.Context, ports ...string) ([]Port, error) {
	if len(ports) == 0 {
		var err error
		if ports, err = h.names(); err != nil {
			return nil, err
		}
	}
	return h.list(ctx, ports, h.standing)
}

// names are those of all ports, in alphabetical order.
func (h *Host) names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.dir, "ports"))
	if err != nil {
		return nil, fmt.Errorf("list the ports: %w", needsRoot(err))
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = unescapeName(e.Name())
	}
	return names, nil
}

func (h *Host) list(ctx context.Context, names []string, describe func(*portState, *generation) (Port, error)) ([]Port, error) {
	var ports []Port
	for _, name := range names {
		port := Port{}
		err := h.readAny(ctx, name, func(s *portState, g *generation) error {
			var err error
			if g == nil {
				port, err = s.withoutPolicy()
			} else {
				port, err = describe(s, g)
			}
			return err
		})
		var gone *NotGuardedError
		if errors.As(err, &gone) {
			continue
		}
		if err != nil {
			return nil, portError("look at", name, err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// read calls fn with a port's state and the generation that describes it best,
// under a lock that keeps changes away.
func (h *Host) read(ctx context.Context, port string, fn func(*portState, *generation) error) error {
	return h.readAny(ctx, port, func(s *portState, g *generation) error {
		if g == nil {
			return &NotGuardedError{port}
		}
		return fn(s, g)
	})
}

// readAny is read, but calls fn without a generation for a port that is shut.
func (h *Host) readAny(ctx context.Context, port string, fn func(*portState, *generation) error) error {
	if !isPortName(port) {
		return &NotGuardedError{port}
	}
	l, err := lockDir(ctx, h.portDir(port), unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotGuardedError{port}
	}
	if err != nil {
		return err
	}
	defer l.unlock()
	dev, err := deviceOf(port)
	if err != nil {
		return err
	}
	s, err := h.look(port, dev)
	if err != nil {
		return err
	}
	g := s.newest()
	if g == nil {
		g = s.last()
	}
	if g == nil && len(s.sightings) == 0 {
		return &NotGuardedError{port}
	}
	return fn(s, g)
}

// standing is the port without what is counted.
func (h *Host) standing(s *portState, g *generation) (Port, error) {
	v, err := thisVersion()
	if err != nil {
		return Port{}, err
	}
	b := &g.binding
	p := Port{
		Name: s.name, Filter: b.Filter, MAC: b.MAC, Parameters: b.Parameters, Settings: b.Settings, BoundAt: b.BoundAt,
		Digest: b.Digest, Outdated: b.Skeleton != v.skeleton, Learning: b.Learning, Number: b.Number,
	}
	return p, s.judge(&p, b.Namespace)
}

// withoutPolicy is a port that has programs of ours and no generation.
func (s *portState) withoutPolicy() (Port, error) {
	namespace, err := device.Namespace()
	if err != nil {
		return Port{}, err
	}
	p := Port{Name: s.name}
	return p, s.judge(&p, namespace)
}

func (h *Host) describePort(s *portState, g *generation) (Port, error) {
	b := &g.binding
	p, err := h.standing(s, g)
	if err != nil {
		return p, err
	}
	c, err := countsOf(s.upTo(g))
	if err != nil {
		return p, err
	}
	if p.Sets, err = g.setStates(); err != nil {
		return p, err
	}
	p.In, p.Out = c.Totals[policy.In], c.Totals[policy.Out]
	entry, err := h.readEntry(b)
	if err != nil {
		return p, err
	}
	p.Connections, p.Opened = entry.Connections, entry.Opened
	p.Observed, err = h.countObserved(b)
	return p, err
}

// judge finds out the port's state; boundIn is the namespace of its device.
func (s *portState) judge(p *Port, boundIn uint64) error {
	namespace, err := device.Namespace()
	if err != nil {
		return err
	}
	programs, linked, err := s.attachedPrograms(p)
	if err != nil {
		return err
	}
	if namespace == boundIn {
		var dev device.Device
		if p.Ifindex != 0 {
			dev, err = device.ByIndex(p.Ifindex)
		} else {
			dev, err = deviceOf(s.name)
		}
		if err != nil {
			return err
		}
		p.Device, p.Ifindex = dev.Name, dev.Index
	}
	in, out := s.of(programs[policy.In], policy.In), s.of(programs[policy.Out], policy.Out)
	switch {
	case !linked && namespace != boundIn:
		p.State = Elsewhere
	case programs[policy.In] == 0 && programs[policy.Out] == 0 && p.Ifindex == 0:
		p.State = DeviceGone
	case s.isShut(programs[policy.In]) || s.isShut(programs[policy.Out]):
		p.State = Shut
	case programs[policy.In] != 0 && in == nil || programs[policy.Out] != 0 && out == nil:
		p.State = Foreign
	case in == nil || out == nil:
		p.State = Unguarded
	case in != out:
		p.State = HalfSwapped
	default:
		p.State = Guarded
	}
	return nil
}

// attachedPrograms gives what is attached, whatever the device is called now,
// and tells whether the port has links.
func (s *portState) attachedPrograms(p *Port) (programs [2]ebpf.ProgramID, linked bool, err error) {
	for _, d := range policy.Directions {
		l, err := openLink(s.dir, d)
		if err != nil {
			return programs, linked, err
		}
		if l.link == nil {
			continue
		}
		l.link.Close()
		linked = true
		if l.ifindex != 0 {
			programs[d], p.Ifindex, p.Mechanism = l.program, l.ifindex, TCX
		}
	}
	if linked {
		return programs, linked, nil
	}
	for _, seen := range s.sightings {
		programs, p.Mechanism = seen.programs, seen.mechanism()
	}
	return programs, linked, nil
}
