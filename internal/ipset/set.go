// Package ipset knows the kernel's sets (ip_set): their types, their members as
// people write them, how they are read over netlink, and which bytes of a
// packet are looked up in them. Both engines look up the same keys.
package ipset

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Set is a set as it was read. Its members are keys of its shape.
type Set struct {
	Name string
	Type string
	Shape
	// NetMask is the length under which a hash:ip set keeps addresses; 0 if
	// whole.
	NetMask int
	levels  map[int]map[string]bool
	bits    []int // the lengths in levels, the longest first
	count   int
}

// Sets are sets by their names.
type Sets map[string]*Set

// Entry is a member: the first Bits of Key. A member with NoMatch is an
// exception: what it covers is not in the set.
type Entry struct {
	Key     []byte
	Bits    int
	NoMatch bool
}

// UnsupportedError says why a set cannot be matched.
type UnsupportedError struct{ text string }

func (e *UnsupportedError) Error() string { return e.text }

// New makes an empty set. Family is 4 or 6, which types without addresses do
// not look at.
func New(name, typeName string, family uint8) (*Set, error) {
	shape, err := shapeOf(typeName, family)
	if err != nil {
		return nil, &UnsupportedError{fmt.Sprintf("the set %q %v", name, err)}
	}
	return &Set{Name: name, Type: typeName, Shape: shape, levels: map[int]map[string]bool{}}, nil
}

// mask sets the netmask, 0 for none.
func (s *Set) mask(bits int) error {
	if bits < 0 || bits > 8*s.Size(IP) {
		return fmt.Errorf("the set %q has a netmask of %d bits", s.Name, bits)
	}
	s.NetMask = bits
	return nil
}

// Len is the number of members.
func (s *Set) Len() int { return s.count }

func (s *Set) add(e Entry) {
	level := s.levels[e.Bits]
	if level == nil {
		level = map[string]bool{}
		s.levels[e.Bits] = level
		s.bits = append(s.bits, e.Bits)
		slices.SortFunc(s.bits, func(a, b int) int { return b - a })
	}
	key := string(masked(e.Key, e.Bits))
	if _, known := level[key]; !known {
		s.count++
	}
	level[key] = e.NoMatch
}

// Entries calls yield for each member, exceptions first.
func (s *Set) Entries(yield func(Entry) bool) {
	for _, noMatch := range []bool{true, false} {
		for bits, level := range s.levels {
			for key, is := range level {
				if is == noMatch && !yield(Entry{[]byte(key), bits, is}) {
					return
				}
			}
		}
	}
}

// Digest is the same for sets of the same members.
func (s *Set) Digest() [sha256.Size]byte {
	lines := make([]string, 0, s.count)
	for e := range s.Entries {
		line := append(binary.NativeEndian.AppendUint32(nil, uint32(e.Bits)), e.Key...)
		if e.NoMatch {
			line = append(line, 1)
		}
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, line := range lines {
		h.Write(binary.NativeEndian.AppendUint32(nil, uint32(len(line))))
		h.Write([]byte(line))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Contains tells whether a whole key is in the set: the longest member that
// covers it decides, as in hash_net's test from the longest prefix on.
func (s *Set) Contains(key []byte) bool {
	for _, bits := range s.bits {
		if noMatch, ok := s.levels[bits][string(masked(key, bits))]; ok {
			return !noMatch
		}
	}
	return false
}

func masked(key []byte, bits int) []byte {
	m := make([]byte, len(key))
	copy(m, key[:bits/8])
	if rest := bits % 8; rest > 0 {
		m[bits/8] = key[bits/8] & (0xff << (8 - rest))
	}
	return m
}

// Flags reads ipsetflags: true for each dimension that looks at the source.
func Flags(text string) []bool {
	var src []bool
	for word := range strings.SplitSeq(text, ",") {
		src = append(src, strings.EqualFold(strings.TrimSpace(word), "src"))
	}
	return src
}
