package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	"tapgate/client"
)

// Guard a port, and say so.
func ExampleClient_Bind() {
	c := client.New(client.DefaultSocket)
	done, err := c.Bind(context.Background(), client.Binding{
		Port: "vnet0", MAC: "52:54:00:00:00:01", Filter: "clean-traffic",
		Parameters: []client.Parameter{{Name: "IP", Value: "10.0.0.5"}},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s enforces %d rules of %s\n", done.Port, done.Rules, done.Filter)
}

// Replace a filter on every port that uses it, or on none.
func ExampleClient_Define() {
	c := client.New(client.DefaultSocket)
	done, err := c.Define(context.Background(), client.Document{
		Source: "<filter name='web'><rule action='accept' direction='in'><tcp dstportstart='80'/></rule></filter>",
	}, false)
	var failed *client.Error
	switch {
	case errors.Is(err, client.ErrRefused) && errors.As(err, &failed):
		for _, port := range failed.Ports {
			fmt.Printf("%s: %s\n", port.Port, port.Detail)
		}
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Printf("%s %s, in force on %d ports\n", done.Filter, done.What, len(done.Ports))
	}
}

// Tell of dropped packets until Ctrl-C.
func ExampleClient_Watch() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	c := client.New(client.DefaultSocket)
	for notice, err := range c.Watch(ctx, client.WatchOptions{Drops: true}) {
		if err != nil {
			log.Fatal(err)
		}
		if r := notice.Report; r != nil && r.Rule != nil {
			fmt.Printf("%s dropped %d bytes by %s:%d\n", r.Port, r.Length, r.Rule.Origin.Position.File, r.Rule.Origin.Position.Line)
		}
	}
}
