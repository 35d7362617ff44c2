package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"tapgate/internal/learn"
	"tapgate/nwfilter/binding"
)

// LeaseKey names the document that holds the leases of a binding's guest. A guest
// that is known by its owner is found again on whatever port it has: its key is
// the address of its card and the owner's UUID. That of any other is the address
// and the port. The binding is to be one that is stored, or Whole: the UUID of an
// owner may come with that.
func LeaseKey(b *binding.Binding) string {
	mac := strings.ReplaceAll(b.MAC.String(), ":", "-")
	key := mac + "@" + escapeName(b.Port)
	if b.OwnerName != "" && b.OwnerName != b.Port && b.OwnerUUID != "" {
		owner := b.OwnerUUID
		if id, err := uuid.Parse(owner); err == nil {
			owner = id.String()
		}
		key = mac + "_" + escapeName(owner)
	}
	if len(key) > maxName {
		sum := sha256.Sum256([]byte(key))
		key = key[:maxName-65] + "~" + hex.EncodeToString(sum[:])
	}
	return key
}

// escapeName writes bytes that are not for file names as %XX.
func escapeName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c <= ' ' || c == '/' || c == '%' || c == '~' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// leasesForm is the form in which leases are kept. A document of a later form is
// not read.
const leasesForm = 1

// leasesDocument is what a document of leases says.
type leasesDocument struct {
	Form   int           `json:"form"`
	Leases []learn.Lease `json:"leases"`
}

// formatLeases is nil for no leases: nothing is kept then.
func formatLeases(leases []learn.Lease) []byte {
	if len(leases) == 0 {
		return nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(leasesDocument{leasesForm, sortedLeases(leases)}); err != nil {
		panic("store: " + err.Error()) // addresses, strings and times always encode
	}
	return b.Bytes()
}

func sortedLeases(leases []learn.Lease) []learn.Lease {
	return slices.SortedFunc(slices.Values(leases), compareLeases)
}

func compareLeases(a, b learn.Lease) int {
	return cmp.Or(a.Address.Addr().Compare(b.Address.Addr()), cmp.Compare(a.Address.Bits(), b.Address.Bits()))
}

// parseLeases reads what formatLeases made.
func parseLeases(text []byte) ([]learn.Lease, error) {
	var d leasesDocument
	err := json.Unmarshal(text, &d)
	switch {
	case d.Form > leasesForm:
		return nil, note{Form: d.Form}.check()
	case err != nil:
		return nil, fmt.Errorf("it is no JSON as it should be: %w", err)
	case d.Form < 1:
		return nil, errors.New("its form is not noted")
	}
	seen := map[netip.Prefix]bool{}
	for i := range d.Leases {
		l := &d.Leases[i]
		switch {
		case !l.Address.IsValid():
			return nil, fmt.Errorf("its lease %d has no address", i+1)
		case l.Address != l.Address.Masked() || l.Is4() && !l.Address.IsSingleIP():
			return nil, fmt.Errorf("its lease %d is of %s, which is no address", i+1, l.Address)
		case l.Source == "":
			return nil, fmt.Errorf("its lease of %s has no source", l.Text())
		case seen[l.Address]:
			return nil, fmt.Errorf("it has %s several times", l.Text())
		}
		seen[l.Address] = true
	}
	return d.Leases, nil
}

// Leases are what is kept under a key, by address; ended ones too. There are none
// if nothing is kept.
func (v *View) Leases(key string) ([]learn.Lease, error) {
	text, err := v.backend.Read(LeaseKind, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leases, err := parseLeases(text)
	if err != nil {
		return nil, v.unreadable(LeaseKind, key, fmt.Errorf("the stored leases of %q cannot be read: %w", key, err))
	}
	return sortedLeases(leases), nil
}

// LeaseKeys are those under which leases are kept.
func (v *View) LeaseKeys() ([]string, error) { return v.backend.Names(LeaseKind) }

// KeepLeases keeps leases in the place of those that were kept under the key; none
// are no document. It is what guests and DHCP servers cause, as often as they
// like, and therefore not in the journal. When it returns without an error, the
// leases survive a crash of the host; with one, those before are there, or, if
// only the last step failed, the new ones.
func (u *Update) KeepLeases(key string, leases []learn.Lease) error {
	text := formatLeases(leases)
	if text != nil {
		return u.backend.Write(LeaseKind, key, text)
	}
	err := u.backend.Remove(LeaseKind, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// LeaseEdit is a change of a lease that somebody asked for.
type LeaseEdit struct {
	// Operation is AddLeaseOp, PinLeaseOp, UnpinLeaseOp or DeleteLeaseOp.
	Operation Operation
	// Port whose lease it is, and the lease's address.
	Port    string
	Address netip.Prefix
}

// ChangeLeases is KeepLeases for what somebody asked for: it is in the journal, as
// a change of the port. Before the leases are stored, enforce puts them in force,
// or is nil: if that fails, nothing is stored. If they are kept already, only
// enforce is called.
func (u *Update) ChangeLeases(e LeaseEdit, key string, leases []learn.Lease, enforce func() error) error {
	var c *change
	var err error
	if text := formatLeases(leases); text != nil {
		c, err = u.writing(e.Operation, LeaseKind, key, text)
	} else {
		c, err = u.removing(e.Operation, LeaseKind, key)
	}
	switch {
	case err != nil:
		return err
	case !c.changes() && enforce != nil:
		return enforce()
	case !c.changes():
		return nil
	}
	c.Name, c.Document = e.Port, key
	c.Address = (&learn.Lease{Address: e.Address}).Text()
	return u.commit(enforce, c)
}
