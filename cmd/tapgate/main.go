// Command tapgate guards the ports of virtual machines and containers with
// filters in libvirt's network filter language.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t := &tool{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, open: openDatapath}
	code := t.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
