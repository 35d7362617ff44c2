package client

import (
	"context"
	"strconv"
	"time"
)

// Actor is who changes something.
type Actor struct {
	// UID and User are what the program runs as.
	UID  uint32 `json:"uid"`
	User string `json:"user,omitempty"`
	// Login is who logged in and became that user, if the two differ and it is known.
	Login *Login `json:"login,omitempty"`
}

// Login is a user behind another.
type Login struct {
	UID  uint32 `json:"uid"`
	User string `json:"user,omitempty"`
	// From is "session", the login that the kernel keeps for audit, or "sudo", which
	// says so in the environment.
	From string `json:"from"`
}

// String is the person first: "alice as root".
func (a Actor) String() string {
	as := userText(a.UID, a.User)
	if a.Login == nil {
		return as
	}
	return userText(a.Login.UID, a.Login.User) + " as " + as
}

func userText(uid uint32, name string) string {
	if name == "" {
		return "uid " + strconv.FormatUint(uint64(uid), 10)
	}
	return name
}

// Entry is a change of one document.
type Entry struct {
	// ID counts the changes from 1.
	ID   int64     `json:"id"`
	Time time.Time `json:"time"`
	// Operation is "define", "rollback", "undefine", "bind", "unbind", "set",
	// "lease-add", "lease-pin", "lease-unpin", "lease-delete" or "set aside".
	Operation string `json:"operation"`
	// Kind is "filter", "port", "settings" or "leases".
	Kind string `json:"kind"`
	// Name of what was changed; of a lease it is the port.
	Name string `json:"name"`
	// Document under which leases are kept that somebody changed, and the Address of
	// the lease.
	Document string  `json:"document,omitempty"`
	Address  string  `json:"address,omitempty"`
	By       Actor   `json:"by"`
	Before   Version `json:"before,omitzero"`
	After    Version `json:"after,omitzero"`
	// Enforced is set if the change also took hold of the port.
	Enforced bool `json:"enforced,omitempty"`
	// Result is "done", "failed" or "interrupted": the program or the host crashed in
	// the middle of it.
	Result string `json:"result,omitempty"`
	// Detail is a sentence on the result, if there is something to say.
	Detail string `json:"detail,omitempty"`
}

// History are changes, oldest first.
type History struct {
	Entries []Entry `json:"entries"`
	// Faults tell of what cannot be read.
	Faults []string `json:"faults,omitempty"`
}

// History tells who changed what.
func (c *Client) History(ctx context.Context) (*History, error) {
	return ask[History](ctx, c, get("history"))
}
