package api

import (
	"testing"

	"tapgate/client"
	"tapgate/internal/store"
)

// A call without a daemon, and with one.
func BenchmarkCall(b *testing.B) {
	f := &fakeService{}
	socket := b.TempDir() + "/s"
	l, err := listen(socket, -1, false)
	if err != nil {
		b.Fatal(err)
	}
	s := NewServer(f, Limits{}, nil)
	go s.Serve(l)
	defer l.Close()
	for name, c := range map[string]*client.Client{"local": Local(f, store.ThisProcess()), "socket": client.New(socket)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Stats(b.Context(), "vnet0"); err != nil {
					b.Fatal(err)
				}
			}
		})
		f.took()
	}
}

// 10,000 connections in a stream.
func BenchmarkConnections(b *testing.B) {
	f := &fakeService{}
	for range 10_000 {
		f.connections = append(f.connections, tcpTo(80))
	}
	c := Local(f, store.ThisProcess())
	for b.Loop() {
		for _, err := range c.Connections(b.Context(), "vnet0", client.ConnectionFilter{}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
