package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"tapgate/internal/datapath"
	"tapgate/internal/lab"
)

const (
	floodRate = 100_000 // frames a second
	clients   = 100
	// between clients, so that they come while the quota is full.
	pause = 20 * time.Millisecond
	// clientTimeout is long enough for a SYN to be sent again.
	clientTimeout = 4 * time.Second
)

// floodable lets a web server be reached, and the guest send datagrams and
// pings.
const floodable = `<filter name="floodable">
  <rule action="accept" direction="in"><tcp dstportstart="80"/></rule>
  <rule action="accept" direction="out"><udp/></rule>
  <rule action="accept" direction="out"><icmp/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`

// measureFloods fills a port's quota in three ways and shows how honest clients
// fare meanwhile.
func measureFloods(ctx context.Context, out io.Writer, options datapath.Options) error {
	fmt.Fprintf(out, "%-26s %9s %9s %9s %11s %9s %9s %9s\n", "", "frames/s", "connected", "slowest", "established", "opened", "given up", "refused")
	for _, flood := range []struct {
		name string
		make func(attacker, guest *lab.Guest) *lab.Flood
	}{
		{"SYNs to the guest", func(a, g *lab.Guest) *lab.Flood { return lab.SYNs(a, g, lab.HTTPPort) }},
		{"datagrams from the guest", func(a, g *lab.Guest) *lab.Flood { return lab.Datagrams(g, a, lab.DNSPort) }},
		{"pings from the guest", func(a, g *lab.Guest) *lab.Flood { return lab.Pings(g, a) }},
	} {
		r, err := measureFlood(ctx, options, flood.make)
		if err != nil {
			return fmt.Errorf("%s: %w", flood.name, err)
		}
		fmt.Fprintf(out, "%-26s %9.0f %5d/%d %6.0f ms %8.0f ms %9d %9d %9d\n", flood.name, r.rate, r.connected, clients,
			ms(r.slowest), ms(r.established), r.stats.Opened, r.stats.GivenUp, r.stats.Refused)
	}
	fmt.Fprintln(out, "\nslowest: of the clients that connected, until they had an answer; established: the\nslowest answer in a connection of before the flood.")
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type floodResult struct {
	rate                 float64
	connected            int
	slowest, established time.Duration
	stats                *datapath.Stats
}

func measureFlood(ctx context.Context, options datapath.Options, flood func(attacker, guest *lab.Guest) *lab.Flood) (*floodResult, error) {
	network, err := lab.New(ctx)
	if err != nil {
		return nil, err
	}
	defer network.Close()
	attacker, err := network.AddAttacker(ctx)
	if err != nil {
		return nil, err
	}
	host, _, unmount, err := openOwn(options)
	if err != nil {
		return nil, err
	}
	defer unmount()
	err = network.Host.Do(func() error {
		p, err := resolve("floodable.xml", []byte(floodable), network.Guest)
		if err != nil {
			return err
		}
		_, err = host.Guard(ctx, network.Guest.Port, p, datapath.Meta{BoundAt: time.Now()})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := network.ServeTCPEcho(network.Guest, lab.HTTPPort); err != nil {
		return nil, err
	}
	before, _, err := answer(ctx, network)
	if err != nil {
		return nil, err
	}
	defer before.Close()

	attack, stop := context.WithCancel(ctx)
	defer stop()
	var r floodResult
	ended := make(chan error, 1)
	go func() {
		var err error
		r.rate, err = flood(attacker, network.Guest).Run(attack, floodRate)
		ended <- err
	}()
	// Long enough for the quota to be full.
	full := time.Duration(float64(datapath.DefaultMaxConnections) / floodRate * float64(time.Second))
	time.Sleep(full)
	established := make(chan time.Duration, 1)
	go func() { established <- slowestEcho(attack, before) }()
	var took []time.Duration
	for range clients {
		if conn, t, err := answer(ctx, network); err == nil {
			took = append(took, t)
			conn.Close()
		}
		time.Sleep(pause)
	}
	stop()
	if err := <-ended; err != nil {
		return nil, err
	}
	r.established = <-established
	if r.connected = len(took); r.connected > 0 {
		r.slowest = slices.Max(took)
	}
	err = network.Host.Do(func() error {
		r.stats, err = host.Stats(ctx, network.Guest.Port)
		return err
	})
	return &r, err
}

// answer connects a client and gives the time until it had an answer.
func answer(ctx context.Context, network *lab.Lab) (net.Conn, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	begin := time.Now()
	conn, err := network.Neighbour.Dial(ctx, "tcp", network.Guest.At(lab.HTTPPort))
	if err != nil {
		return nil, 0, err
	}
	if err := lab.EchoTCP(ctx, conn); err != nil {
		conn.Close()
		return nil, 0, err
	}
	return conn, time.Since(begin), nil
}

// slowestEcho uses a connection until ctx ends. One that is lost takes for ever.
func slowestEcho(ctx context.Context, conn net.Conn) (slowest time.Duration) {
	for ctx.Err() == nil {
		begin := time.Now()
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		err := lab.EchoTCP(timeout, conn)
		cancel()
		slowest = max(slowest, time.Since(begin))
		if err != nil {
			return time.Hour
		}
		time.Sleep(pause)
	}
	return slowest
}
