package store

import (
	"cmp"
	"slices"
	"time"

	"tapgate/internal/learn"
	"tapgate/internal/policy"
	"tapgate/nwfilter/binding"
)

// Leases of guests that no port has are kept for so many of them, those that were
// heard of last, and those without an end for so long.
const (
	maxAbsent     = 1024
	longestAbsent = 30 * 24 * time.Hour
)

// outlives tells whether a lease is the guest's still when its binding is gone: a
// DHCP server has given it for a time, and a guest that is stopped and started does
// not always ask again. What the guest took for itself it takes anew, and what
// somebody added or pinned was for the binding.
func outlives(l *learn.Lease, now time.Time) bool {
	switch l.Source {
	case learn.DHCP, learn.DHCPv6, learn.DHCPv6Prefix:
	default:
		return false
	}
	return !l.Pinned && !l.Ended(now) && now.Sub(l.Renewed) < longestAbsent
}

// endLeasesOf ends the leases that do not outlive a binding that is no more, nil if
// there was none. What cannot be done is done by pruneLeases another time.
func (u *Update) endLeasesOf(old *binding.Binding) {
	if old == nil {
		return
	}
	key := LeaseKey(old)
	leases, err := newView(u.backend).Leases(key)
	if err != nil || len(leases) == 0 {
		return
	}
	if bound, err := u.boundKeys(); err != nil || bound[key] {
		return
	}
	// Without an end are what a server gave for good, and, where only the first
	// address is learned, that one: it is to be learned anew.
	forever := learnsFromDHCP(old)
	u.endLeases(key, leases, func(l *learn.Lease) bool {
		return outlives(l, time.Now()) && (forever || !l.End.IsZero())
	})
}

// endLeases keeps those leases of a key that are wanted.
func (u *Update) endLeases(key string, leases []learn.Lease, wanted func(*learn.Lease) bool) (left []learn.Lease) {
	left = slices.DeleteFunc(slices.Clone(leases), func(l learn.Lease) bool { return !wanted(&l) })
	if len(left) < len(leases) {
		_ = u.KeepLeases(key, left)
	}
	return left
}

func learnsFromDHCP(b *binding.Binding) bool {
	for _, p := range b.Parameters {
		if p.Name == policy.LearningParameter {
			mode, err := learn.ParseMode(p.Value)
			return err == nil && mode == learn.FromDHCP
		}
	}
	return false
}

// boundKeys are the keys that bindings have. What cannot be read is nobody's
// business here.
func (u *Update) boundKeys() (map[string]bool, error) {
	bindings, _, err := newView(u.backend).Bindings()
	keys := map[string]bool{}
	for _, b := range bindings {
		keys[LeaseKey(b)] = true
	}
	return keys, err
}

// pruneLeases ends leases of guests that no port has: those that do not outlive
// their bindings, or not any longer, and those of guests that are too many. It is
// done after every 64th change in the journal, and by Repair, so that what is kept
// of guests that are gone stays bounded. What goes wrong is tried again another
// time.
func (u *Update) pruneLeases(now time.Time) {
	keys, err := u.LeaseKeys()
	if err != nil || len(keys) == 0 {
		return
	}
	bound, err := u.boundKeys()
	if err != nil {
		return
	}
	quiet := newView(u.backend)
	type absent struct {
		key   string
		heard time.Time
	}
	var left []absent
	for _, key := range keys {
		if bound[key] {
			continue
		}
		leases, err := quiet.Leases(key)
		if err != nil {
			continue // Repair sets it aside
		}
		one := absent{key: key}
		for _, l := range u.endLeases(key, leases, func(l *learn.Lease) bool { return outlives(l, now) }) {
			if l.Renewed.After(one.heard) {
				one.heard = l.Renewed
			}
		}
		if !one.heard.IsZero() {
			left = append(left, one)
		}
	}
	slices.SortFunc(left, func(a, b absent) int { return cmp.Or(b.heard.Compare(a.heard), cmp.Compare(a.key, b.key)) })
	for _, one := range left[min(len(left), maxAbsent):] {
		_ = u.KeepLeases(one.key, nil)
	}
}
