package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tapgate/client"
	"tapgate/internal/datapath"
)

// Each of 1,000 clients has connections of its own, and all ask at the same moment.
func TestThousandClients(t *testing.T) {
	var room unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &room); err != nil {
		t.Fatal(err)
	}
	if room.Cur < 3000 {
		t.Skipf("needs 3000 open files for a thousand clients in one process, and %d are allowed: raise ulimit -n", room.Cur)
	}
	f := &fakeService{}
	socket := serve(t, f, Limits{})
	start := make(chan struct{})
	var clients sync.WaitGroup
	faults := make(chan error, 1000)
	for n := range 1000 {
		clients.Go(func() {
			c := client.New(socket)
			defer c.Close()
			<-start
			var err error
			switch n % 4 {
			case 0:
				_, err = c.Status(t.Context())
			case 1:
				_, err = c.Define(t.Context(), client.Document{Source: fmt.Sprint(n)}, false)
			case 2:
				_, err = c.Stats(t.Context(), fmt.Sprint("vnet", n))
			case 3:
				for _, err = range c.Connections(t.Context(), "vnet0", client.ConnectionFilter{}) {
				}
			}
			if err != nil {
				faults <- err
			}
		})
	}
	begun := time.Now()
	close(start)
	clients.Wait()
	close(faults)
	for err := range faults {
		t.Error(err)
	}
	if asked := len(f.took()); asked != 1000 {
		t.Errorf("%d requests arrived", asked)
	}
	t.Logf("1,000 clients were served within %s", time.Since(begun))
}

// With few places, as with few descriptors, all are served one after the other.
func TestClientsWaitForTheirTurn(t *testing.T) {
	f := &fakeService{}
	socket := serve(t, f, Limits{Connections: 4, Work: 2})
	var clients sync.WaitGroup
	for range 100 {
		clients.Go(func() {
			c := client.New(socket)
			defer c.Close()
			if _, err := c.Status(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

func TestServerSaysThatItIsBusy(t *testing.T) {
	f := &fakeService{hold: make(chan struct{}), entered: make(chan struct{})}
	c := client.New(serve(t, f, Limits{Work: 1, Wait: time.Millisecond}))
	held := make(chan error)
	go func() {
		_, err := c.Status(t.Context())
		held <- err
	}()
	<-f.entered
	_, err := c.Ports(t.Context())
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 503 || e.Code != client.ErrBusy || e.Message != "too many requests are at work; try again" {
		t.Errorf("%v", err)
	}
	// Streams have room of their own.
	for _, err := range c.Connections(t.Context(), "vnet0", client.ConnectionFilter{}) {
		t.Error(err)
	}
	close(f.hold)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if _, err := c.Ports(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRequestsAreObserved(t *testing.T) {
	s := NewServer(&fakeService{}, Limits{}, nil)
	var seen []string
	s.Observe = func(route string, status int, took time.Duration) {
		if took <= 0 {
			t.Errorf("%s took %s", route, took)
		}
		seen = append(seen, fmt.Sprintf("%d %s", status, route))
	}
	for _, path := range []string{"/v1/status", "/v1/ports/vnet0/connections", "/v1/filters/a?wrong=1", "/v1/nosuch"} {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	want := []string{"200 GET /v1/status", "200 GET /v1/ports/{port}/connections", "400 GET /v1/filters/{filter}", "404 "}
	if !slices.Equal(seen, want) {
		t.Errorf("observed %q, want %q", seen, want)
	}
}

func TestShutdownEndsStreamsAndWaitsForWork(t *testing.T) {
	f := &fakeService{notice: datapath.Notice{Watched: &datapath.Watched{}}, hold: make(chan struct{}), entered: make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := listen(socket, -1, false)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(f, Limits{}, nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := client.New(socket)
	work := make(chan error)
	go func() {
		_, err := c.Status(t.Context())
		work <- err
	}()
	<-f.entered
	n := 0
	for _, err := range c.Watch(t.Context(), client.WatchOptions{Drops: true}) {
		if err != nil {
			t.Errorf("the stream ends with %v", err)
		}
		if n++; n > 1 {
			continue
		}
		go func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			served <- nil
		}()
	}
	close(f.hold)
	if err := <-work; err != nil {
		t.Errorf("what was at work: %v", err)
	}
	for range 2 {
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrNotRunning) || err.Error() != "no daemon listens at "+socket {
		t.Errorf("after the end: %v", err)
	}
}

func TestClientSaysWhatWentWrongOnTheWay(t *testing.T) {
	f := &fakeService{hold: make(chan struct{}), entered: make(chan struct{})}
	c := client.New(serve(t, f, Limits{}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-f.entered
		cancel()
	}()
	if _, err := c.Status(ctx); !errors.Is(err, client.ErrInterrupted) || !errors.Is(err, context.Canceled) || err.Error() != "the call was interrupted" {
		t.Errorf("%v", err)
	}
	close(f.hold)

	// One that ends in the middle of its answer.
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadAtLeast(conn, make([]byte, 1024), 10)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\r\n")
			conn.Close()
		}
	}()
	const ended = "the daemon ended before it had answered; \"tapgate history\" tells what was changed"
	if _, err := client.New(socket).Status(t.Context()); err == nil || err.Error() != ended {
		t.Errorf("%v", err)
	}
	var last error
	for _, err := range client.New(socket).Connections(t.Context(), "vnet0", client.ConnectionFilter{}) {
		last = err
	}
	if last == nil || last.Error() != ended {
		t.Errorf("%v", last)
	}
}

func TestOneRequestDoesNotEndTheServer(t *testing.T) {
	f := &fakeService{panics: true}
	c := client.New(serve(t, f, Limits{}))
	if _, err := c.Status(t.Context()); err == nil || err.Error() != "the program failed; its log says more" {
		t.Errorf("%v", err)
	}
	if _, err := c.Ports(t.Context()); err != nil {
		t.Error(err)
	}
}
