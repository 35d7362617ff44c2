package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Forever is a lease time without an end (0xffffffff seconds, RFC 2131 section 3.3).
const Forever = time.Duration(0xffffffff) * time.Second

// DHCPGrant is what a DHCPServer gives.
type DHCPGrant struct {
	// Address for the client; a client that asks for another one is told so (DHCPNAK). Without one, no
	// address is offered, and what is asked for is refused.
	Address netip.Addr
	// Lease is how long for, in whole seconds. The client renews after half of it.
	Lease time.Duration
	// From is the sender of the replies, and the server identifier; else the server's guest is.
	From netip.Addr
	// Relay sends the replies as a relay agent would, whose address it is, from its MAC address: the
	// server identifier stays what it is (RFC 2131 section 4.1).
	Relay netip.Addr
	// Unicast sends replies to the address that they give, even if the client has asked for broadcast.
	Unicast bool
	// NoTime leaves the lease time out, as an answer to DHCPINFORM does.
	NoTime bool
}

// DHCPServer does what real servers do not when a test needs it: leases of seconds, another address
// at the next renewal, answers that wait for a word.
type DHCPServer struct {
	guest    *Guest
	requests *net.UDPConn
	replies  *FrameConn

	mu     sync.Mutex
	grant  func(*dhcpv4.DHCPv4) DHCPGrant
	silent map[dhcpv4.MessageType]bool
	heard  []*dhcpv4.DHCPv4
	// held are answers that Answer sends.
	held []*dhcpv4.DHCPv4
	more chan struct{}
}

// ServeDHCP starts such a server in a guest. It gives nothing until it is told what.
func (l *Lab) ServeDHCP(guest *Guest) (*DHCPServer, error) {
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), DHCPServerPort)
	requests, err := guest.ListenUDP(at)
	if err != nil {
		return nil, fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
	}
	replies, err := guest.OpenFrames(GuestDevice)
	if err != nil {
		closeAll(requests)
		return nil, err
	}
	s := &DHCPServer{
		guest: guest, requests: requests, replies: replies,
		silent: map[dhcpv4.MessageType]bool{}, more: make(chan struct{}),
	}
	if err := l.serve(s.run, func() { closeAll(requests, replies) }); err != nil {
		return nil, err
	}
	return s, nil
}

// Give says what every client is given from now on.
func (s *DHCPServer) Give(grant DHCPGrant) {
	s.GiveEach(func(*dhcpv4.DHCPv4) DHCPGrant { return grant })
}

// GiveEach says what the sender of a message is given from now on.
func (s *DHCPServer) GiveEach(grant func(*dhcpv4.DHCPv4) DHCPGrant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant = grant
}

// Hold keeps the answers to messages of some types until Answer is called.
func (s *DHCPServer) Hold(types ...dhcpv4.MessageType) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range types {
		s.silent[t] = true
	}
}

// Answer sends what was held, the latest answer only, and holds nothing any more.
func (s *DHCPServer) Answer() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.silent)
	if len(s.held) == 0 {
		return nil
	}
	last := s.held[len(s.held)-1]
	s.held = nil
	return s.reply(last)
}

// Heard returns the first message of a type, of those from the mark on, which is what Mark gave
// before or 0 for all.
func (s *DHCPServer) Heard(ctx context.Context, messageType dhcpv4.MessageType, mark int) (*dhcpv4.DHCPv4, error) {
	for {
		s.mu.Lock()
		heard, more := s.heard[mark:], s.more
		s.mu.Unlock()
		for _, m := range heard {
			if m.MessageType() == messageType {
				return m, nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a %s: %w", messageType, ctx.Err())
		}
	}
}

// Mark is how many messages were heard so far.
func (s *DHCPServer) Mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heard)
}

func (s *DHCPServer) run() {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := s.requests.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		message, err := dhcpv4.FromBytes(buffer[:n])
		if err != nil || message.OpCode != dhcpv4.OpcodeBootRequest {
			continue
		}
		s.take(message)
	}
}

func (s *DHCPServer) take(message *dhcpv4.DHCPv4) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, message)
	close(s.more)
	s.more = make(chan struct{})
	if s.grant == nil {
		return
	}
	if s.silent[message.MessageType()] {
		s.held = append(s.held, message)
		return
	}
	_ = s.reply(message) // fails when the lab ends
}

// reply answers a message as RFC 2131 section 4.3 says.
func (s *DHCPServer) reply(message *dhcpv4.DHCPv4) error {
	grant := s.grant(message)
	from := grant.From
	if !from.IsValid() {
		from = s.guest.IPv4
	}
	answer, err := dhcpv4.NewReplyFromRequest(message,
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(from.AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptSubnetMask(net.CIDRMask(24, 32))))
	if err != nil {
		return err
	}
	if grant.Relay.IsValid() {
		answer.GatewayIPAddr = grant.Relay.AsSlice()
		from = grant.Relay
	}
	chosen := message.ServerIdentifier()
	switch message.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		if !grant.Address.IsValid() {
			return nil
		}
		answer.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
	case dhcpv4.MessageTypeRequest:
		if id := answer.ServerIdentifier(); chosen != nil && !chosen.Equal(id) {
			return nil // the client has chosen another server
		}
		asked, ok := netip.AddrFromSlice(message.RequestedIPAddress().To4())
		if !ok {
			asked, _ = netip.AddrFromSlice(message.ClientIPAddr.To4())
		}
		answer.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeAck))
		if asked != grant.Address {
			answer.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
			return s.send(answer, from, netip.AddrFrom4([4]byte{255, 255, 255, 255}), Broadcast)
		}
	default:
		return nil
	}
	answer.YourIPAddr = grant.Address.AsSlice()
	if !grant.NoTime {
		answer.UpdateOption(dhcpv4.OptIPAddressLeaseTime(grant.Lease))
		answer.UpdateOption(dhcpv4.OptRenewTimeValue(grant.Lease / 2))
		answer.UpdateOption(dhcpv4.OptRebindingTimeValue(grant.Lease * 7 / 8))
	}
	if grant.Unicast || !message.IsBroadcast() && !message.ClientIPAddr.IsUnspecified() {
		return s.send(answer, from, grant.Address, message.ClientHWAddr)
	}
	return s.send(answer, from, netip.AddrFrom4([4]byte{255, 255, 255, 255}), Broadcast)
}

func (s *DHCPServer) send(answer *dhcpv4.DHCPv4, from, to netip.Addr, mac net.HardwareAddr) error {
	return s.replies.Send(UDPFrame(s.guest.MAC, mac, netip.AddrPortFrom(from, DHCPServerPort), netip.AddrPortFrom(to, DHCPClientPort), answer.ToBytes()))
}
