package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

const (
	// batch is how many datagrams one system call sends.
	batch = 64
	// payload makes the shortest frame that Ethernet has.
	payload = 18
	// port is what the examples let the guest ask.
	port = 53
)

// packetRate sends datagrams from the guest as fast as one thread can and gives
// those that arrive at the neighbour, a second.
func packetRate(ctx context.Context, network *lab.Lab, duration time.Duration) (float64, error) {
	conn, err := network.Guest.Dial(ctx, "udp", network.Neighbour.At(port))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, payload)}
	}
	sender := ipv4.NewPacketConn(conn.(*net.UDPConn))

	before, err := received(network.Neighbour)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for time.Since(begin) < duration {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		// Nobody listens at the neighbour, which says so now and then.
		if _, err := sender.WriteBatch(messages, 0); err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOBUFS) {
			return 0, fmt.Errorf("send: %w", err)
		}
	}
	elapsed := time.Since(begin)
	after, err := received(network.Neighbour)
	if err != nil {
		return 0, err
	}
	if after == before {
		return 0, errors.New("not one datagram has arrived: the filter must let UDP to port 53 out")
	}
	return float64(after-before) / elapsed.Seconds(), nil
}

// received counts the frames that a guest's NIC has received.
func received(guest *lab.Guest) (uint64, error) {
	links, err := guest.Links().LinkList()
	if err != nil {
		return 0, fmt.Errorf("count the frames of %s: %w", guest.Name(), err)
	}
	var sum uint64
	for _, l := range links {
		if l.Type() == "veth" {
			sum += l.Attrs().Statistics.RxPackets
		}
	}
	return sum, nil
}
