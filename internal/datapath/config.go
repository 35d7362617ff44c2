package datapath

import (
	"fmt"

	"tapgate/internal/conntrack"
	"tapgate/internal/ipset"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/settings"
)

// Config is what programs must know beside the policy.
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
	// Mark tells the port's other program which packets are answers to rejected
	// ones. It is the same in all generations of a port, and no one else's.
	Mark uint64
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

// skeletonConfig mirrors struct config in maps.h.
type skeletonConfig struct {
	Port           uint32
	Generation     uint32
	MaxConnections uint32
	PickUp         bool
	Swapped        bool
	Observe        packet.Observe
	_              uint8
	MAC            uint64
	Policy         uint64
	Mark           uint64
	Services       [conntrack.MaxServices]skeletonService
	Timeouts       conntrack.Timeouts
}

// skeletonService mirrors struct service.
type skeletonService struct {
	Helper, Proto uint8
	Port          uint16
}

// entry is the configuration as the skeleton looks it up.
func (c Config) entry(p *policy.Policy) (*skeletonConfig, error) {
	services, err := skeletonServices(c.Services)
	if err != nil {
		return nil, err
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	return &skeletonConfig{
		Port:           c.Port,
		Generation:     c.Generation,
		MaxConnections: c.MaxConnections,
		PickUp:         !c.NoPickUp,
		Swapped:        c.Swapped,
		Observe:        p.Observe,
		MAC:            macNumber(p.MAC),
		Policy:         p.Fingerprint,
		Mark:           c.Mark,
		Services:       services,
		Timeouts:       c.Timeouts.OrDefault(),
	}, nil
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
