package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// HTTPBody is what the lab's HTTP servers answer.
const HTTPBody = "hello from the lab\n"

// ServeHTTP starts an HTTP server on a port of the guest.
func (l *Lab) ServeHTTP(guest *Guest, port uint16) error {
	for _, at := range guest.addresses(port) {
		listener, err := guest.Listen(at)
		if err != nil {
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		if err := l.serveHTTP(listener); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) serveHTTP(listener net.Listener) error {
	// Server.Close does not wait for the goroutines of its connections.
	var connections sync.WaitGroup
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, HTTPBody)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed:
				connections.Done()
			}
		},
	}
	run := func() {
		_ = server.Serve(listener)
		connections.Wait()
	}
	return l.serve(run, func() { closeAll(server, listener) })
}

// HTTP gets a page from the namespace.
func HTTP(ctx context.Context, from *Namespace, server netip.AddrPort) error {
	conn, closeConn, err := from.probe(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	defer closeConn()
	transport := &http.Transport{
		DisableKeepAlives: true,
		// Connected beforehand: a transport goes on dialling when its request has been given up.
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.String()+"/", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("http: get %s: %w", request.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("http: read %s: %w", request.URL, err)
	}
	if response.StatusCode != http.StatusOK || string(body) != HTTPBody {
		return fmt.Errorf("http: get %s: %w: %s", request.URL, errUnexpected, response.Status)
	}
	return nil
}

// ConnectTCP opens a TCP connection from the namespace and closes it. To a closed port it fails
// with an error for which Refused holds.
func ConnectTCP(ctx context.Context, from *Namespace, server netip.AddrPort) error {
	_, closeConn, err := from.probe(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("tcp: %w", err)
	}
	closeConn()
	return nil
}
