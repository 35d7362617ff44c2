package datapath

import (
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"tapgate/internal/device"
	"tapgate/internal/policy"
)

// fakeAttachment notes what is done to it and fails in one direction.
type fakeAttachment struct {
	attachment
	names map[*ebpf.Program]string
	fails policy.Direction
	did   []string
}

var errFake = errors.New("no such thing")

func (f *fakeAttachment) attach(d policy.Direction, p *ebpf.Program) error {
	if d == f.fails && f.names[p] == "new" {
		return errFake
	}
	f.did = append(f.did, d.String()+" "+f.names[p])
	return nil
}

func (f *fakeAttachment) detach(d policy.Direction) error {
	f.did = append(f.did, d.String()+" detached")
	return nil
}

func TestBothDirectionsAreSwappedOrNone(t *testing.T) {
	before, after := &ebpf.Program{}, &ebpf.Program{}
	names := map[*ebpf.Program]string{before: "old", after: "new"}
	pair := [2]*ebpf.Program{after, after}
	const none = policy.Direction(9)
	for _, test := range []struct {
		name   string
		before [2]*ebpf.Program
		fails  policy.Direction
		want   []string
	}{
		{"in comes first", [2]*ebpf.Program{before, before}, none, []string{"in new", "out new"}},
		{"in fails", [2]*ebpf.Program{before, before}, policy.In, nil},
		{"out fails", [2]*ebpf.Program{before, before}, policy.Out, []string{"in new", "in old"}},
		{"out fails and there was nothing", [2]*ebpf.Program{}, policy.Out, []string{"in new", "in detached"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fakeAttachment{names: names, fails: test.fails}
			err := attachBoth(f, pair, func(d policy.Direction) (*ebpf.Program, error) { return test.before[d], nil })
			if (err == nil) != (test.fails == none) || err != nil && !errors.Is(err, errFake) {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(f.did, test.want) {
				t.Errorf("did %q, want %q", f.did, test.want)
			}
		})
	}
}

func TestSidesOfADevice(t *testing.T) {
	for _, test := range []struct {
		kind        string
		receivesOut bool
	}{{"veth", true}, {"tun", true}, {"bridge", true}, {"macvtap", false}, {"ipvtap", false}} {
		dev := device.Device{Kind: test.kind}
		if received(dev, policy.Out) != test.receivesOut || received(dev, policy.In) == test.receivesOut {
			t.Errorf("%s: the guest's frames are received: %v, want %v", test.kind, !test.receivesOut, test.receivesOut)
		}
	}
}
