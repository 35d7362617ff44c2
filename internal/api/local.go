package api

import (
	"context"
	"io"
	"net/http"
	"sync"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/store"
)

// Local asks a service of this process, in the same way in which a daemon is asked:
// by the same handler, only without a socket. A call that has begun is waited for to
// its end, also when its context ends: the process must not end before it.
func Local(service agent.Service, by store.Actor) *client.Client {
	return client.NewWithTransport(&local{Handler(service, nil), by})
}

// local is a transport whose other end is a handler.
type local struct {
	handler http.Handler
	by      store.Actor
}

// RoundTrip returns as soon as the answer begins. Its body comes as the handler
// writes it; to close it ends the handler's context and waits for the handler.
func (l *local) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, stop := context.WithCancel(WithActor(r.Context(), func() store.Actor { return l.by }))
	body, w := io.Pipe()
	a := &answer{header: http.Header{}, begun: make(chan struct{}), body: w}
	asked := r.Clone(ctx)
	asked.RequestURI = r.URL.RequestURI()
	if asked.Body == nil {
		asked.Body = http.NoBody
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.handler.ServeHTTP(a, asked)
		a.WriteHeader(http.StatusOK)
		w.Close()
		asked.Body.Close()
	}()
	<-a.begun
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Header: a.sent, ContentLength: -1, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: &localBody{body, stop, ended},
	}, nil
}

// answer is what a handler writes to.
type answer struct {
	header, sent http.Header
	status       int
	once         sync.Once
	begun        chan struct{}
	body         *io.PipeWriter
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(text []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(text)
}

// Flush has nothing to do: what is written is there.
func (a *answer) Flush() {}

type localBody struct {
	*io.PipeReader
	stop  context.CancelFunc
	ended <-chan struct{}
}

func (b *localBody) Close() error {
	b.stop()
	err := b.PipeReader.Close()
	<-b.ended
	return err
}
