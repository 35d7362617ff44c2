package client

import "context"

// Parameter is a variable of a filter, or a setting of a port, with a value. A name
// that is there several times makes a list.
type Parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Position is where it was read, for faults to name.
	Position *Position `json:"position,omitempty"`
}

// Owner is the guest behind a port.
type Owner struct {
	Name string `json:"name,omitempty"`
	UUID string `json:"uuid,omitempty"`
}

// Binding says which filter a port gets, and with which parameters.
type Binding struct {
	// Port is the name of the host-side device.
	Port string `json:"port"`
	// MAC is the address of the guest's network card.
	MAC        string      `json:"mac"`
	Filter     string      `json:"filter"`
	Parameters []Parameter `json:"parameters,omitempty"`
	Owner      *Owner      `json:"owner,omitempty"`
	// LinkDevice is the physical device under a macvtap, else empty.
	LinkDevice string `json:"link_device,omitempty"`
}

// BindingList are the stored bindings by port.
type BindingList struct {
	Bindings []Binding `json:"bindings"`
	// Faults tell of those that cannot be read.
	Faults []string `json:"faults,omitempty"`
}

// Bound is what a binding did.
type Bound struct {
	Port   string `json:"port"`
	Filter string `json:"filter"`
	MAC    string `json:"mac"`
	// Rules that the port enforces.
	Rules        int     `json:"rules"`
	Milliseconds float64 `json:"milliseconds"`
	// Waiting is set if the device is not there yet.
	Waiting bool `json:"waiting,omitempty"`
	// Definition is set if a filter was stored too.
	Definition *FilterChange `json:"definition,omitempty"`
	// Replaced is set if the port was guarded before, by the filter Before.
	Replaced bool   `json:"replaced"`
	Before   string `json:"before,omitempty"`
	// Mechanism by which the programs are attached.
	Mechanism string `json:"mechanism"`
	// Notes are sentences on what a person may want to know.
	Notes []string `json:"notes,omitempty"`
	// Settings in force, all of them.
	Settings []Setting `json:"settings,omitempty"`
	// Learning is set if the filter needs addresses that the binding does not give.
	Learning *Learning `json:"learning,omitempty"`
}

// bindBody is a binding with the filter that is to be stored with it.
type bindBody struct {
	Binding
	Document *Document `json:"document,omitempty"`
}

// Bindings lists the stored bindings.
func (c *Client) Bindings(ctx context.Context) (*BindingList, error) {
	return ask[BindingList](ctx, c, get("bindings"))
}

// Bind guards a port and stores the binding, and with it the filter own unless that
// is nil. What was in force before is replaced without a gap; if the call fails, it
// still is in force.
func (c *Client) Bind(ctx context.Context, b Binding, own *Document) (*Bound, error) {
	return ask[Bound](ctx, c, put("bindings", b.Port).sending(bindBody{b, own}))
}

// BindAgain puts the stored binding of a port in force; ErrNotFound if there is none.
func (c *Client) BindAgain(ctx context.Context, port string) (*Bound, error) {
	return ask[Bound](ctx, c, post("bindings", port, "enforce"))
}

// Unbind stops guarding a port and forgets its binding.
func (c *Client) Unbind(ctx context.Context, port string) error {
	return c.call(ctx, remove("bindings", port), nil)
}
