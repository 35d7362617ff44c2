package kerneltest

import (
	"errors"
	"testing"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
)

// The helpers expect what those of the running kernel do, but for the differences
// that are wanted.
func TestHelperSequences(t *testing.T) {
	k := newKernel(t)
	conntracktest.RunKernelHelpers(t, func(t *testing.T, services []conntrack.Service) func(*testing.T) conntracktest.Engine {
		err := k.Help(services)
		if missing := (ErrMissing{}); errors.As(err, &missing) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func(t *testing.T) conntracktest.Engine {
			if err := k.Reset(); err != nil {
				t.Fatal(err)
			}
			return &engine{Kernel: k}
		}
	})
}

// A helper that the kernel lacks is named.
func TestHelpMissing(t *testing.T) {
	k := newKernel(t)
	err := k.Help([]conntrack.Service{{Helper: conntrack.NoHelper, Proto: packet.ProtoTCP, Port: 21}})
	if missing := (ErrMissing{}); !errors.As(err, &missing) || missing.What != "helper none" {
		t.Errorf("attach a helper that there is not: %v", err)
	}
}
