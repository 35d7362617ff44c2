package api

import (
	"net"

	"tapgate/internal/agent"
	"tapgate/internal/settings"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// bindingJSON is a binding in JSON: the language's own form is XML.
type bindingJSON struct {
	Port       string          `json:"port"`
	MAC        string          `json:"mac"`
	Filter     string          `json:"filter"`
	Parameters []parameterJSON `json:"parameters,omitempty"`
	Owner      *ownerJSON      `json:"owner,omitempty"`
	LinkDevice string          `json:"link_device,omitempty"`
}

type parameterJSON struct {
	nwfilter.Parameter
	Position *nwfilter.Position `json:"position,omitempty"`
}

type ownerJSON struct {
	Name string `json:"name,omitempty"`
	UUID string `json:"uuid,omitempty"`
}

func jsonOfBinding(b *binding.Binding) bindingJSON {
	j := bindingJSON{Port: b.Port, MAC: b.MAC.String(), Filter: b.Filter, LinkDevice: b.LinkDevice}
	for _, p := range b.Parameters {
		one := parameterJSON{Parameter: p}
		if p.Pos != (nwfilter.Position{}) {
			one.Position = &p.Pos
		}
		j.Parameters = append(j.Parameters, one)
	}
	if b.OwnerName != "" || b.OwnerUUID != "" {
		j.Owner = &ownerJSON{b.OwnerName, b.OwnerUUID}
	}
	return j
}

// binding is what the JSON says, if it makes sense.
func (j *bindingJSON) binding() (binding.Binding, error) {
	b := binding.Binding{Port: j.Port, Filter: j.Filter, LinkDevice: j.LinkDevice}
	mac, err := net.ParseMAC(j.MAC)
	switch {
	case err != nil || len(mac) != 6:
		return b, invalidf("mac %.100q is no MAC address: expected six groups such as 52:54:00:00:00:01", j.MAC)
	case mac[0]&1 != 0:
		return b, invalidf("mac %q is a multicast address, which no guest can have", j.MAC)
	case j.Filter == "":
		return b, invalidf("which filter? \"filter\" names it")
	}
	b.MAC = mac
	for _, p := range j.Parameters {
		if p.Position != nil {
			p.Pos = *p.Position
		}
		b.Parameters = append(b.Parameters, p.Parameter)
	}
	if _, err := settings.Resolve(nil, b.Parameters); err != nil {
		return b, invalidf("%s", err)
	}
	if j.Owner != nil {
		b.OwnerName, b.OwnerUUID = j.Owner.Name, j.Owner.UUID
	}
	return b, nil
}

func (c *call) bindings() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	stored, faults, err := c.service.Bindings(c.r.Context())
	list := make([]bindingJSON, len(stored))
	for i, b := range stored {
		list[i] = jsonOfBinding(b)
	}
	return struct {
		Bindings []bindingJSON `json:"bindings"`
		Faults   []string      `json:"faults,omitempty"`
	}{list, sentences(faults)}, err
}

// bindBody is a binding with the filter that is stored with it.
type bindBody struct {
	bindingJSON
	Document *agent.Document `json:"document,omitempty"`
}

func (c *call) bind() (any, error) {
	if err := c.takesQuery(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	var body bindBody
	if err := c.body(&body, maxDocument); err != nil {
		return nil, err
	}
	if body.Port == "" {
		body.Port = port
	}
	if body.Port != port {
		return nil, invalidf("the path names the port %q and the body %.100q", port, body.Port)
	}
	want, err := body.binding()
	if err != nil {
		return nil, err
	}
	if body.Document != nil {
		if err := checkDocument(body.Document); err != nil {
			return nil, err
		}
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return c.service.Bind(c.r.Context(), by, want, body.Document)
}

func (c *call) bindAgain() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return c.service.BindAgain(c.r.Context(), by, port)
}

func (c *call) unbind() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	port, err := c.name("port")
	if err != nil {
		return nil, err
	}
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	return nil, c.service.Unbind(c.r.Context(), by, port)
}
