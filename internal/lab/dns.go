package lab

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

// DNSName is the name that the lab's DNS server knows; its addresses are those of its own guest.
const DNSName = "neighbour.lab."

// ServeDNS starts a DNS server on UDP and TCP.
func (l *Lab) ServeDNS(guest *Guest) error {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		_ = w.WriteMsg(answerDNS(guest, request))
	})
	for _, at := range guest.addresses(DNSPort) {
		listener, err := guest.Listen(at)
		if err != nil {
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		packets, err := guest.ListenUDP(at)
		if err != nil {
			closeAll(listener)
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		for _, server := range []*dns.Server{
			{Listener: listener, Handler: handler},
			{PacketConn: packets, Handler: handler},
		} {
			if err := l.serveDNS(server); err != nil {
				return err
			}
		}
	}
	return nil
}

// serveDNS runs one server. Shutdown stops only a server that has started.
func (l *Lab) serveDNS(server *dns.Server) error {
	started := make(chan struct{})
	announce := sync.OnceFunc(func() { close(started) })
	server.NotifyStartedFunc = announce
	run := func() {
		_ = server.ActivateAndServe()
		announce()
	}
	stop := func() {
		<-started
		_ = server.Shutdown()
	}
	return l.serve(run, stop)
}

func answerDNS(guest *Guest, request *dns.Msg) *dns.Msg {
	answer := new(dns.Msg).SetReply(request)
	for _, question := range request.Question {
		header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 60}
		switch {
		case question.Name != DNSName:
			answer.Rcode = dns.RcodeNameError
		case question.Qtype == dns.TypeA:
			answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: guest.IPv4.AsSlice()})
		case question.Qtype == dns.TypeAAAA:
			answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: header, AAAA: guest.IPv6.AsSlice()})
		}
	}
	return answer
}

// DNS looks DNSName up from the namespace, over "udp" or "tcp".
func DNS(ctx context.Context, from *Namespace, network string, server netip.AddrPort) error {
	conn, closeConn, err := from.probe(ctx, network, server)
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	defer closeConn()
	// Longer than the connection's own limit, which is the one to end a try.
	client := &dns.Client{Net: network, Timeout: 2 * ProbeTimeout}
	question := new(dns.Msg).SetQuestion(DNSName, dns.TypeA)
	answer, _, err := client.ExchangeWithConnContext(ctx, question, &dns.Conn{Conn: conn})
	if err != nil {
		return fmt.Errorf("dns: ask %s over %s: %w", server, network, err)
	}
	if len(answer.Answer) != 1 {
		return fmt.Errorf("dns: ask %s over %s: %w", server, network, errUnexpected)
	}
	return nil
}
