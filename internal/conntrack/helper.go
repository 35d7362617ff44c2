package conntrack

import (
	"fmt"
	"slices"

	"tapgate/internal/packet"
)

// Helper is a reader of a control protocol.
type Helper uint8

// The helpers, numbered as in automaton.h.
const (
	NoHelper Helper = iota
	FTP
	TFTP
	IRC
	Amanda
	SIP
)

// helpers are what is known of each, in the order of the constants.
var helpers = [...]struct {
	name      string
	automaton *Automaton
}{
	NoHelper: {name: "none"},
	FTP:      {"ftp", ftp},
	TFTP:     {"tftp", tftp},
	IRC:      {"irc", irc},
	Amanda:   {"amanda", amanda},
	SIP:      {"sip", sip},
}

// String is the name that users know the helper by.
func (h Helper) String() string {
	if int(h) < len(helpers) {
		return helpers[h].name
	}
	return fmt.Sprintf("helper %d", uint8(h))
}

// HelperNamed is the reverse; NoHelper if there is none of the name.
func HelperNamed(name string) Helper {
	for h := NoHelper + 1; int(h) < len(helpers); h++ {
		if helpers[h].name == name {
			return h
		}
	}
	return NoHelper
}

// Service says which helper reads the connections that are opened to a port.
type Service struct {
	Helper Helper
	Proto  uint8 // the control connection's
	Port   uint16
}

// Announces tells whether the service's connections announce some of a protocol.
func (s Service) Announces(proto uint8) bool {
	if s.Helper == NoHelper {
		return false
	}
	return slices.ContainsFunc(helpers[s.Helper].automaton.kinds[:], func(k kind) bool {
		return k.proto == proto || k.flags&registering != 0 && s.Proto == proto
	})
}

// MaxServices is how many services a port can have.
const MaxServices = 16

// DefaultServices are the helpers at the ports where their servers listen by
// convention.
func DefaultServices() []Service {
	return []Service{
		{FTP, packet.ProtoTCP, 21},
		{TFTP, packet.ProtoUDP, 69},
		{IRC, packet.ProtoTCP, 6667},
		{Amanda, packet.ProtoUDP, 10080},
		{SIP, packet.ProtoTCP, sipPort},
		{SIP, packet.ProtoUDP, sipPort},
	}
}

// helperOf is the helper for a connection that p opens unannounced.
func (t *Table) helperOf(p *packet.Packet) Helper {
	if p.Have&packet.HavePorts == 0 {
		return NoHelper
	}
	for _, s := range t.config.Services {
		if s.Proto == p.LinkProto && s.Port == p.DstPort {
			return s.Helper
		}
	}
	return NoHelper
}

// Tables are the automata of all helpers in the order of enum helper in
// automaton.h, from the first on: struct automata, the value of the map of that
// name (see Automaton.append).
func Tables() (tables []byte) {
	for _, h := range helpers[1:] {
		tables = h.automaton.append(tables)
	}
	return tables
}
