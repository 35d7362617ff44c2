package datapath

import (
	"testing"

	"github.com/cilium/ebpf/btf"

	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// The causes are numbered alike in both engines.
func TestCausesOfInvalidAreNumberedAlike(t *testing.T) {
	spec, err := skeleton.Load()
	if err != nil {
		t.Fatal(err)
	}
	var causes *btf.Enum
	if err := spec.Types.TypeByName("invalid", &causes); err != nil {
		t.Fatal(err)
	}
	for name, number := range map[string]packet.Invalid{
		"NOT_INVALID": packet.NotInvalid, "INVALID_HEADER": packet.InvalidHeader, "INVALID_LENGTH": packet.InvalidLength,
		"INVALID_TCP_FLAGS": packet.InvalidTCPFlags, "INVALID_TCP_OPENING": packet.InvalidTCPOpening,
		"INVALID_TCP_STATE": packet.InvalidTCPState, "INVALID_TCP_WINDOW": packet.InvalidTCPWindow,
		"INVALID_TCP_RESET": packet.InvalidTCPReset, "INVALID_SCTP_CHUNKS": packet.InvalidSCTPChunks,
		"INVALID_SCTP_OPENING": packet.InvalidSCTPOpening, "INVALID_SCTP_TAG": packet.InvalidSCTPTag,
		"INVALID_SCTP_STATE": packet.InvalidSCTPState, "INVALID_ICMP_TYPE": packet.InvalidICMPType,
		"INVALID_ICMP_ANSWER": packet.InvalidICMPAnswer, "INVALID_ICMP_QUOTE": packet.InvalidICMPQuote,
		"INVALID_ICMP_ERROR": packet.InvalidICMPError, "INVALID_GRE": packet.InvalidGRE, "INVALIDS": packet.NumInvalid,
	} {
		found := false
		for _, v := range causes.Values {
			if v.Name == name {
				found = true
				if v.Value != uint64(number) {
					t.Errorf("%s is %d, in Go %d", name, v.Value, number)
				}
			}
		}
		if !found {
			t.Errorf("enum invalid has no %s", name)
		}
	}
	if len(causes.Values) != int(packet.NumInvalid)+1 {
		t.Errorf("enum invalid has %d values, want %d", len(causes.Values), packet.NumInvalid+1)
	}
}

// The last packet of each sequence is INVALID for the cause that it is meant
// to show, and is counted under it, by direction.
func TestCausesOfInvalid(t *testing.T) {
	needRoot(t)
	p := resolve(t, trackingPolicy)
	k := newTracker(t, p, Config{NoPickUp: true})
	conntracktest.RunInvalid(t, func(t *testing.T) func([]byte, bool, int64) (packet.State, packet.Invalid) {
		if err := k.Reset(); err != nil {
			t.Fatal(err)
		}
		return func(frame []byte, out bool, now int64) (packet.State, packet.Invalid) {
			before := k.invalid(t, out)
			r, err := k.Run(frame, out, now)
			if err != nil {
				t.Fatal(err)
			}
			if r.State == packet.StateInvalid {
				before[r.Invalid]++
			}
			if after := k.invalid(t, out); after != before {
				t.Errorf("counted: %v, want %v", after, before)
			}
			return r.State, r.Invalid
		}
	})
}

func (k *tracker) invalid(t *testing.T, out bool) (counts [packet.NumInvalid]uint64) {
	t.Helper()
	direction := policy.In
	if out {
		direction = policy.Out
	}
	words, err := sumOverCPUs(k.pair.maps[totalsMap], uint32(direction))
	if err != nil {
		t.Fatal(err)
	}
	return totalsOf(words).Invalid
}
