package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Observation is a frame that a program copied, of which the guest's addresses may
// be learned.
type Observation struct {
	Time time.Time
	// Port is its name now, Number what it keeps as long as it is guarded.
	Port   string
	Number uint32
	// Out is set for what the guest sent.
	Out bool
	// Passed is what became of the frame.
	Passed bool
	// Frame holds its first bytes, up to 2,048 and a tag, of Length.
	Frame  []byte
	Length int
}

// observationsPin is the ring that all ports' programs write to, of all versions.
const observationsPin = "observations"

// observationLayout is OBSERVATION_LAYOUT.
const observationLayout = 1

// observationHeader mirrors struct observation, without the frame.
type observationHeader struct {
	Time         uint64
	Port         uint32
	Length       uint32
	Captured     uint16
	VLANProtocol uint16
	VLANTCI      uint16
	Layout       uint8
	Class        uint8
	Out          uint8
	Passed       uint8
	_            [6]uint8
}

// decodeObservation reads what a program wrote, at programs' time and without the
// port's name; nil if it is of another version.
func decodeObservation(raw []byte) (*Observation, error) {
	var h observationHeader
	n, err := binary.Decode(raw, binary.NativeEndian, &h)
	if err == nil && h.Layout != observationLayout {
		return nil, nil
	}
	if err != nil || len(raw)-n < int(h.Captured) {
		return nil, fmt.Errorf("an observation of %d bytes is not what this version of tapgate writes", len(raw))
	}
	frame := putTagBack(slices.Clone(raw[n:n+int(h.Captured)]), h.VLANProtocol, h.VLANTCI)
	return &Observation{
		Time: time.Unix(0, int64(h.Time)), Number: h.Port, Out: h.Out != 0, Passed: h.Passed != 0,
		Frame: frame, Length: int(h.Length) + len(frame) - int(h.Captured),
	}, nil
}

// openObservations opens the ring, and makes it if it is not there. The caller
// holds the host's lock.
func (h *Host) openObservations(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	path := filepath.Join(h.dir, observationsPin)
	ring, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		if ring, err = ebpf.NewMap(spec); err == nil {
			if err = ring.Pin(path); err != nil {
				ring.Close()
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the ring of observations: %w", needsRoot(err))
	}
	return ring, nil
}
