// Package datapath loads policies into the kernel, attaches them to ports and
// reads back what they counted.
package datapath

import (
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"

	"tapgate/internal/compile"
	"tapgate/internal/conntrack"
	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/ipset"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
)

// Config is the skeleton's configuration, constant once loaded (struct config
// in maps.h).
type Config struct {
	// Port is the number under which the port's connections are kept.
	Port uint32
	// MaxConnections bounds the connections of the port.
	MaxConnections uint32
	// NoPickUp refuses TCP connections that are first seen mid-stream, as
	// nf_conntrack_tcp_loose=0 does.
	NoPickUp bool
	// Timeouts of connections; conntrack.DefaultTimeouts if zero.
	Timeouts conntrack.Timeouts
	// Swapped is set where the device transmits what the guest sends.
	Swapped bool
	// Services says which helpers read which connections, at most
	// conntrack.MaxServices; nil for conntrack.DefaultServices.
	Services []conntrack.Service
	// Generation is the number of the port's pair of programs.
	Generation uint32
	// Sets are the kernel sets that the policy names, all of them.
	Sets ipset.Sets
}

// With takes over a port's settings.
func (c Config) With(s settings.Settings) Config {
	c.MaxConnections, c.NoPickUp, c.Timeouts, c.Services = s.MaxConnections, !s.PickUp, s.Timeouts, s.Services
	return c
}

// DefaultMaxConnections is a port's quota of connections.
const DefaultMaxConnections = settings.DefaultMaxConnections

// skeletonConfig mirrors struct config.
type skeletonConfig struct {
	Port           uint32
	Testing        bool
	Track          bool
	Helpers        bool
	TCPOptions     bool
	PickUp         bool
	Reject         bool
	Swapped        bool
	Limits         bool
	MaxConnections uint32
	MAC            uint64
	Policy         uint64
	Services       [conntrack.MaxServices]skeletonService
	Timeouts       conntrack.Timeouts
	Generation     uint32
	_              uint32
}

// skeletonService mirrors struct service.
type skeletonService struct {
	Helper, Proto uint8
	Port          uint16
}

// skeletonServices lays the services out.
func skeletonServices(services []conntrack.Service) (list [conntrack.MaxServices]skeletonService, err error) {
	if services == nil {
		services = conntrack.DefaultServices()
	}
	if len(services) > len(list) {
		return list, fmt.Errorf("%d ports with helpers: a port can have at most %d", len(services), len(list))
	}
	for i, s := range services {
		list[i] = skeletonService{uint8(s.Helper), s.Proto, s.Port}
	}
	return list, nil
}

const (
	programOut = "tapgate_out"
	programIn  = "tapgate_in"
)

var programs = map[policy.Direction]string{policy.Out: programOut, policy.In: programIn}

// newSpec makes the two programs of a port from its policy.
func newSpec(p *policy.Policy, config Config, testing bool) (*ebpf.CollectionSpec, error) {
	spec, err := skeleton.Load()
	if err != nil {
		return nil, fmt.Errorf("read the skeleton: %w", err)
	}
	layout, err := skeleton.Layout(spec)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	for d, name := range programs {
		group.Go(func() error {
			functions, err := compile.Compile(p, d, layout, config.Sets)
			if err != nil {
				return fmt.Errorf("compile direction %s: %w", d, err)
			}
			return splice(spec.Programs[name], functions)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if config.MaxConnections == 0 {
		config.MaxConnections = DefaultMaxConnections
	}
	services, err := skeletonServices(config.Services)
	if err != nil {
		return nil, err
	}
	err = spec.Variables["config"].Set(skeletonConfig{
		Port:           config.Port,
		Testing:        testing,
		Track:          p.Facts.Tracked(),
		Helpers:        p.Facts.Related,
		TCPOptions:     p.Facts.TCPOptions,
		PickUp:         !config.NoPickUp,
		Reject:         p.Facts.Reject,
		Swapped:        config.Swapped,
		Limits:         p.Facts.ConnLimit,
		MaxConnections: config.MaxConnections,
		MAC:            macNumber(p.MAC),
		Policy:         p.Fingerprint,
		Services:       services,
		Timeouts:       config.Timeouts.OrDefault(),
		Generation:     config.Generation,
	})
	if err != nil {
		return nil, fmt.Errorf("configure the skeleton: %w", err)
	}
	spec.Maps[automataMap].Contents = []ebpf.MapKV{{Key: uint32(0), Value: conntrack.Tables()}}
	mark, err := newRejects()
	if err != nil {
		return nil, err
	}
	spec.Maps["rejects"].Contents = []ebpf.MapKV{{Key: uint32(0), Value: mark}}
	for i, name := range p.SetNames() {
		spec.Maps[compile.SetMap(i)] = setMapSpec(compile.SetMap(i), config.Sets[name])
	}
	spec.Maps["clauses"].MaxEntries = uint32(max(len(p.Clauses), 1))
	if p.Facts.Tracked() {
		spec.Maps["clause_names"].MaxEntries = spec.Maps["clauses"].MaxEntries
	}
	return spec, nil
}
