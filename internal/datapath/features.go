package datapath

import "tapgate/internal/policy"

// features are what a policy asks of the skeleton, constant once loaded (struct
// features in maps.h).
type features struct {
	Testing    bool
	Track      bool
	Helpers    bool
	TCPOptions bool
	Reject     bool
	Limits     bool
	Observe    bool
	Discovery  bool
}

func featuresOf(p *policy.Policy) features {
	return features{
		Track:      p.Facts.Tracked(),
		Helpers:    p.Facts.Related,
		TCPOptions: p.Facts.TCPOptions,
		Reject:     p.Facts.Reject,
		Limits:     p.Facts.ConnLimit,
		Observe:    p.Observe != 0,
		Discovery:  p.Facts.Discovery,
	}
}

// variant numbers the skeleton that is loaded for the features.
func (f features) variant() uint32 {
	var n uint32
	for i, has := range []bool{f.Track, f.Helpers, f.TCPOptions, f.Reject, f.Limits, f.Observe, f.Discovery} {
		if has {
			n |= 1 << i
		}
	}
	return n
}
