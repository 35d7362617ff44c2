package datapath

import "testing"

// The time of a replacement: compile, load, verify, swap, and the wait for the
// last packet of the programs before.
func BenchmarkSwap(b *testing.B) {
	for _, mechanism := range mechanisms {
		b.Run(string(mechanism), func(b *testing.B) {
			for _, filter := range []struct{ name, xml string }{
				{"stateless", dropNine}, {"stateful", replies},
			} {
				b.Run(filter.name, func(b *testing.B) {
					l := newLive(b, mechanism)
					p := resolve(b, filter.xml)
					l.guard(l.Guest.Port, p)
					for b.Loop() {
						l.guard(l.Guest.Port, p)
					}
				})
			}
		})
	}
}

// The wait alone, which is the kernel's and depends on its load.
func BenchmarkWaitForPrograms(b *testing.B) {
	for b.Loop() {
		waitForPrograms()
	}
}
