package api

import (
	"math"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/datapath"
)

func (c *call) ports() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	list, faults, err := c.service.Ports(c.r.Context())
	return struct {
		Ports  []agent.Port `json:"ports"`
		Faults []string     `json:"faults,omitempty"`
	}{listed(list), sentences(faults)}, err
}

func (c *call) stats() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	return c.service.Stats(c.r.Context(), port)
}

// chosen reads a port, and which of its connections are wanted; all is set if no
// parameter says so.
func (c *call) chosen(parameters ...string) (port string, chosen *datapath.Chosen, all bool, err error) {
	if err := c.takes(parameters...); err != nil {
		return "", nil, false, err
	}
	if port, err = c.name("port"); err != nil {
		return "", nil, false, err
	}
	var f datapath.ConnectionFilter
	for name, into := range map[string]*string{"proto": &f.Proto, "state": &f.State, "address": &f.Address, "direction": &f.Direction} {
		if *into, err = c.parameter(name); err != nil {
			return "", nil, false, err
		}
	}
	n, err := c.number("port", 1, math.MaxUint16)
	if err != nil {
		return "", nil, false, err
	}
	f.Port = uint16(n)
	chosen, err = f.Choose()
	return port, chosen, f == datapath.ConnectionFilter{}, err
}

func (c *call) connections() (any, error) {
	port, chosen, _, err := c.chosen("proto", "state", "address", "port", "direction")
	if err != nil {
		return nil, err
	}
	return streamOf(c.service.Connections(c.r.Context(), port), chosen.Connection), nil
}

func (c *call) expectations() (any, error) {
	port, chosen, _, err := c.chosen("proto", "address", "port")
	if err != nil {
		return nil, err
	}
	return streamOf(c.service.Expectations(c.r.Context(), port), chosen.Expectation), nil
}

func (c *call) flush() (any, error) {
	port, chosen, all, err := c.chosen("proto", "state", "address", "port", "direction")
	if err != nil {
		return nil, err
	}
	match := chosen.Connection
	if all {
		match = nil
	}
	n, err := c.service.Flush(c.r.Context(), port, match)
	return struct {
		Flushed int `json:"flushed"`
	}{n}, err
}

// refreshSets tells what was done before it failed, too.
func (c *call) refreshSets() (any, error) {
	if err := c.takes("port"); err != nil {
		return nil, err
	}
	port, err := c.parameter("port")
	if err != nil {
		return nil, err
	}
	changes, err := c.service.RefreshSets(c.r.Context(), port)
	done := struct {
		Changes []datapath.SetChange `json:"changes"`
		Error   *client.Error        `json:"error,omitempty"`
	}{Changes: listed(changes)}
	if err != nil && len(changes) > 0 {
		done.Error, err = failureOf(err), nil
	}
	return done, err
}

func (c *call) watch() (any, error) {
	if err := c.takes("port", "drops", "passes", "rate"); err != nil {
		return nil, err
	}
	options := datapath.WatchOptions{Ports: listed(c.r.Form["port"])}
	var err error
	if options.Drops, err = c.flag("drops", true); err != nil {
		return nil, err
	}
	if options.Passes, err = c.flag("passes", false); err != nil {
		return nil, err
	}
	if options.Rate, err = c.number("rate", 1, datapath.MaxWatchRate); err != nil {
		return nil, err
	}
	if !options.Drops && !options.Passes {
		return nil, invalidf("drops=false without passes=true leaves nothing to watch")
	}
	s := streamOf(c.service.Watch(c.r.Context(), options), func(datapath.Notice) bool { return true })
	s.live = true
	return s, nil
}
