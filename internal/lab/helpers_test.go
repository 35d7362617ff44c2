package lab

import (
	"testing"
)

// In a lab without filters all of them work; what filters do to them is tested where the filters
// are.
func TestProtocolsThatAnnounceConnections(t *testing.T) {
	l := newLab(t)
	for _, serve := range []func() error{
		func() error { return l.ServeTFTP(l.Neighbour) },
		func() error { return l.ServeIRC(l.Neighbour) },
		func() error { return l.ServeAmanda(l.Neighbour) },
	} {
		if err := serve(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, guest := t.Context(), l.Guest.Namespace
	sender, err := DialIRC(ctx, guest, l.Neighbour.At(IRCPort), "sender")
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	receiver, err := DialIRC(ctx, l.Neighbour.Namespace, l.Neighbour.At(IRCPort), "receiver")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	for name, try := range map[string]func() error{
		"tftp":          func() error { return TFTP(ctx, guest, l.Neighbour.At(TFTPPort)) },
		"tftp, IPv6":    func() error { return TFTP(ctx, guest, l.Neighbour.At6(TFTPPort)) },
		"irc":           func() error { return sender.SendFile(ctx, receiver) },
		"irc, back":     func() error { return receiver.SendFile(ctx, sender) },
		"amanda":        func() error { return Amanda(ctx, guest, l.Neighbour.At(AmandaPort)) },
		"amanda, IPv6":  func() error { return Amanda(ctx, guest, l.Neighbour.At6(AmandaPort)) },
		"sip, back":     func() error { return SIPCallback(ctx, l.Guest, l.Neighbour, false) },
		"sip, udp":      func() error { return SIPCall(ctx, l.Guest, l.Neighbour, "udp", false) },
		"sip, tcp":      func() error { return SIPCall(ctx, l.Guest, l.Neighbour, "tcp", false) },
		"sip, udp IPv6": func() error { return SIPCall(ctx, l.Guest, l.Neighbour, "udp", true) },
		"sip, tcp IPv6": func() error { return SIPCall(ctx, l.Guest, l.Neighbour, "tcp", true) },
	} {
		for i := range 3 {
			if err := try(); err != nil {
				t.Errorf("%s, try %d: %v", name, i+1, err)
			}
		}
	}
}
