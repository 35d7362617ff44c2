package datapath

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
)

// Answers are what became of the answers to rejected packets of one direction
// that may be answered.
type Answers struct {
	Sent uint64 `json:"sent"`
	// Suppressed ones were more than the limit allows.
	Suppressed uint64 `json:"suppressed"`
}

// newMark draws the number by which a port's programs know answers.
func newMark() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw the mark of answers: %w", err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

// macNumber is a MAC address as the programs hold it.
func macNumber(mac net.HardwareAddr) (n uint64) {
	for _, b := range mac {
		n = n<<8 | uint64(b)
	}
	return n
}
