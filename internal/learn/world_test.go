package learn

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"pgregory.net/rapid"
)

// event is one thing that happens at a port.
type event struct {
	out, passed bool
	frame       []byte
	asks        bool   // the guest asks a server for an address
	asked       string // which one; "" for any
}

// world draws what happens at a port, from few addresses and transactions, so that
// things meet by chance.
type world struct{ *rapid.T }

func (w world) one(label string, of ...string) string { return rapid.SampledFrom(of).Draw(w.T, label) }
func (w world) often(label string) bool               { return rapid.IntRange(0, 9).Draw(w.T, label) > 0 }
func (w world) xid() uint32                           { return rapid.Uint32Range(1, 3).Draw(w.T, "xid") }

func (w world) address4() string {
	return w.one("IPv4 address", "10.0.0.5", "10.0.0.6", "10.0.0.7", "0.0.0.0", "127.0.0.1", "255.255.255.255")
}

func (w world) address6() string {
	return w.one("IPv6 address", "fe80::5", "fe80::6", "fe80::99", "2001:db8:1::5", "2001:db8:1::6", "2001:db8:2::5", "fd00::5", "ff02::5", "::")
}

func (w world) lifetime() time.Duration {
	return time.Duration(rapid.SampledFrom([]uint32{0, 1, 30, 90, 3600, 10000, infinite}).Draw(w.T, "lifetime")) * time.Second
}

func (w world) mac() net.HardwareAddr {
	if w.often("the guest's MAC address") {
		return guestMAC
	}
	return peerMAC
}

func (w world) event() event {
	e := event{out: true, passed: w.often("passed")}
	switch w.one("frame", "claim", "claim6", "nd", "dhcp out", "dhcp in", "dhcpv6 out", "dhcpv6 in", "ra", "objection", "noise") {
	case "claim":
		a := w.address4()
		e.frame = w.text(w.one("claim", "arp request "+a+" > 10.0.0.9", "arp reply "+a+" > 10.0.0.9", "udp "+a+":1 > 10.0.0.9:2", "vlan 7 udp "+a+":1 > 10.0.0.9:2"))
	case "claim6":
		e.frame = w.text("udp [" + w.address6() + "]:1 > [2001:db8::9]:2")
	case "nd":
		from, target := w.address6(), w.address6()
		switch w.one("message", "dad", "solicitation", "advertisement") {
		case "dad":
			e.frame = dad(w.mac(), target)
		case "solicitation":
			e.frame = solicit(w.mac(), from)
		default:
			e.frame = advertise(w.mac(), from, target)
		}
	case "dhcp out":
		e = w.asks(e)
	case "dhcp in":
		e.out, e.frame = false, w.answers()
	case "dhcpv6 out":
		e = w.asks6(e)
	case "dhcpv6 in":
		e.out, e.frame = false, w.answers6()
	case "ra":
		e.out, e.frame = false, routers(autonomousFor(w.one("prefix", "2001:db8:1::/64", "2001:db8:2::/64", "fe80::/64"), w.lifetime()))
	case "objection":
		e.out = false
		e.frame = advertise(w.mac(), "fe80::9", w.address6())
		if rapid.Bool().Draw(w.T, "detection") {
			e.frame = dad(w.mac(), w.address6())
		}
	case "noise":
		e.frame = rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(w.T, "bytes")
		e.out = rapid.Bool().Draw(w.T, "out")
	}
	if !w.often("unbroken") && len(e.frame) > 0 {
		e.frame = bytes.Clone(e.frame)
		e.frame[rapid.IntRange(0, len(e.frame)-1).Draw(w.T, "at")] ^= byte(rapid.IntRange(1, 255).Draw(w.T, "bits"))
	}
	return e
}

func (w world) text(s string) []byte { return text(w.T, s) }

func (w world) asks(e event) event {
	a := w.address4()
	kind := rapid.SampledFrom([]dhcpv4.MessageType{discover, ask, ask, decline, release, inform}).Draw(w.T, "type")
	var modifiers []dhcpv4.Modifier
	switch w.one("address in", "option", "ciaddr", "nothing") {
	case "option":
		modifiers = append(modifiers, asking(a))
	case "ciaddr":
		modifiers = append(modifiers, client(a))
	default:
		a = "0.0.0.0"
	}
	if rapid.Bool().Draw(w.T, "server") {
		modifiers = append(modifiers, serverID(server))
	}
	if kind == discover && rapid.Bool().Draw(w.T, "rapid") {
		modifiers = append(modifiers, rapidCommit)
		e.asks = true
	}
	if kind == ask {
		e.asks, e.asked = true, a
	}
	e.frame = dhcpOut(kind, w.xid(), modifiers...)
	return e
}

func (w world) answers() []byte {
	kind := rapid.SampledFrom([]dhcpv4.MessageType{offer, ack, ack, ack, nak, decline}).Draw(w.T, "type")
	modifiers := []dhcpv4.Modifier{yours(w.address4())}
	if w.often("lease time") {
		modifiers = append(modifiers, leaseTime(w.lifetime()))
	}
	if rapid.Bool().Draw(w.T, "rapid") {
		modifiers = append(modifiers, rapidCommit)
	}
	if !w.often("server") {
		modifiers = append(modifiers, serverID(netip.MustParseAddr("10.0.0.2")))
	}
	if rapid.Bool().Draw(w.T, "relayed") {
		return relayed(kind, w.xid(), modifiers...)
	}
	return dhcpIn(kind, w.xid(), modifiers...)
}

func (w world) asks6(e event) event {
	kind := rapid.SampledFrom([]dhcpv6.MessageType{solicit6, request6t, renew6, rebind6, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline}).Draw(w.T, "type")
	var options []dhcpv6.Option
	switch kind {
	case solicit6:
		if rapid.Bool().Draw(w.T, "rapid") {
			options = append(options, rapid6)
			e.asks = true
		}
	case request6t, renew6, rebind6:
		e.asks = true
	default:
		options = append(options, w.associations()...)
	}
	e.frame = dhcp6Out(kind, byte(w.xid()), options...)
	return e
}

func (w world) answers6() []byte {
	kind := rapid.SampledFrom([]dhcpv6.MessageType{reply6t, reply6t, reply6t, dhcpv6.MessageTypeAdvertise}).Draw(w.T, "type")
	options := w.associations()
	if rapid.Bool().Draw(w.T, "rapid") {
		options = append(options, rapid6)
	}
	return dhcp6In(kind, byte(w.xid()), options...)
}

func (w world) associations() []dhcpv6.Option {
	options := []dhcpv6.Option{iaNA(iaAddr(w.address6(), w.lifetime())), iaPD(iaPrefix(w.one("prefix", "2001:db8:50::/56", "::/0", "8000::/1"), w.lifetime()))}
	if !w.often("success") {
		options = append(options, failure)
	}
	return options
}

func (w world) pause() time.Duration {
	return rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 5 * time.Second, time.Minute, 10 * time.Minute, 3 * hour}).Draw(w.T, "pause")
}

func (w world) config() Config {
	c := Config{
		MAC: guestMAC, Mode: rapid.SampledFrom([]Mode{Any, FromDHCP, FromDHCP, None}).Draw(w.T, "mode"),
		IPv4: w.often("IPv4"), IPv6: w.often("IPv6"),
	}
	if rapid.Bool().Draw(w.T, "servers") {
		c.Servers = []netip.Addr{server, router}
	}
	return c
}

// operate does what an operator may do.
func (w world) operate(ports []*Port, now time.Time) {
	a := whole(netip.MustParseAddr(w.one("address", "10.0.0.5", "10.0.0.6", "fe80::5", "2001:db8:1::5")))
	verb, flag := w.one("verb", "add", "pin", "delete"), rapid.Bool().Draw(w.T, "flag")
	for _, p := range ports {
		switch l := (Lease{Address: a, Pinned: flag, End: now.Add(hour)}); verb {
		case "add":
			_, _ = p.Add(l, now)
		case "pin":
			_, _ = p.Pin(a, flag)
		case "delete":
			_, _ = p.Delete(a)
		}
	}
}
