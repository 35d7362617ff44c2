package learn

import "testing"

// BenchmarkObserve is the cost of a frame at a port that has learned, and of each
// exchange that gives it the address once more.
func BenchmarkObserve(b *testing.B) {
	request, acknowledged := dhcpOut(ask, 7, asking("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour))
	for name, frames := range map[string][][]byte{
		"claim":     {text(b, "udp [fe80::5]:1 > [fe80::9]:2")},
		"detection": {dad(guestMAC, "fe80::5")},
		"exchange":  {request, acknowledged},
	} {
		b.Run(name, func(b *testing.B) {
			p := New(Config{MAC: guestMAC, Mode: Any, IPv6: true}, nil, nil)
			if name == "exchange" {
				p = New(dhcpIPv4, nil, nil)
			}
			for b.Loop() {
				for i, frame := range frames {
					p.Observe(frame, i == 0, true, start)
				}
			}
			if len(p.Leases()) != 1 {
				b.Errorf("%d leases", len(p.Leases()))
			}
		})
	}
}
