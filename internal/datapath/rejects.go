package datapath

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"tapgate/internal/policy"
)

// Answers are what became of the answers to rejected packets of one direction
// that may be answered.
type Answers struct {
	Sent uint64 `json:"sent"`
	// Suppressed ones were more than the limit allows.
	Suppressed uint64 `json:"suppressed"`
}

// rejects mirrors struct rejects.
type rejects struct {
	// Mark tells the port's other program which packets are answers. It is
	// random, and the same in all generations of a port.
	Mark      uint64
	Direction [2]struct {
		Next uint64
		Answers
	}
}

func newRejects() (r rejects, err error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return r, fmt.Errorf("draw the mark of answers: %w", err)
	}
	r.Mark = binary.NativeEndian.Uint64(b[:])
	return r, nil
}

// answers reads how many rejected packets were answered, by direction.
func (g *generation) answers() (a [2]Answers, err error) {
	m, err := g.openMap("rejects")
	if errors.Is(err, fs.ErrNotExist) { // programs of a version that did not answer
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("read the counters of answers: %w", err)
	}
	defer m.Close()
	var r rejects
	if err := m.Lookup(uint32(0), &r); err != nil {
		return a, fmt.Errorf("read the counters of answers: %w", err)
	}
	for _, d := range policy.Directions {
		a[d] = r.Direction[d].Answers
	}
	return a, nil
}

// macNumber is a MAC address as the programs hold it.
func macNumber(mac net.HardwareAddr) (n uint64) {
	for _, b := range mac {
		n = n<<8 | uint64(b)
	}
	return n
}
