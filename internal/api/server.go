package api

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"tapgate/client"
	"tapgate/internal/agent"
)

// Limits bound what clients can ask of a server at once. The zero value of each is
// its default.
type Limits struct {
	// Connections that are accepted, 1,024. Others wait in the kernel.
	Connections int
	// Work are the requests that are worked on, 256; a long one, which may carry a
	// document, counts as 16. Others wait.
	Work int64
	// Streams are those of connections, expectations and packets, 64.
	Streams int64
	// Wait is how long a request waits before it is told that the server is busy,
	// 30 s.
	Wait time.Duration
	// Body is how long the body of a request may take to come, 30 s.
	Body time.Duration
}

// longWork is what a request counts that has a body longer than maxBody, or of
// unknown length.
const longWork = 16

func (l Limits) whole() Limits {
	or := func(n *int64, otherwise int64) {
		if *n == 0 {
			*n = otherwise
		}
	}
	or(&l.Work, 256)
	or(&l.Streams, 64)
	if l.Connections == 0 {
		l.Connections = 1024
	}
	if l.Wait == 0 {
		l.Wait = 30 * time.Second
	}
	if l.Body == 0 {
		l.Body = 30 * time.Second
	}
	return l
}

// Server serves the API to whoever may connect.
type Server struct {
	// Observe is told of each request that was answered: its route as a pattern, ""
	// if it has none, the status, and how long it took. Set it before Serve; nil for
	// nobody.
	Observe func(route string, status int, took time.Duration)

	limits        Limits
	handler       http.Handler
	work, streams *semaphore.Weighted
	http          *http.Server
	// ending ends streams, which would go on for ever.
	ending context.Context
	end    context.CancelFunc
}

// NewServer makes a server of a service. The log may be nil.
func NewServer(service agent.Service, limits Limits, logger *slog.Logger) *Server {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{limits: limits.whole(), handler: Handler(service, logger)}
	s.work, s.streams = semaphore.NewWeighted(s.limits.Work), semaphore.NewWeighted(s.limits.Streams)
	s.ending, s.end = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       15 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ConnContext:       withPeer,
		ErrorLog:          log.New(logWriter{logger}, "", 0),
	}
	return s
}

// logWriter tells of what net/http finds strange.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Warn("a client is strange", "fault", strings.TrimSpace(string(line)))
	return len(line), nil
}

// Serve serves until Shutdown, then it returns nil at once.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(boundListener(l, s.limits.Connections))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown takes no more requests, ends streams, and waits for what is at work, as
// long as ctx goes on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	return err
}

// isStream tells whether the answer to a request may take as long as its client
// likes.
func isStream(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	return r.URL.Path == "/v1/watch" || strings.HasSuffix(r.URL.Path, "/connections") || strings.HasSuffix(r.URL.Path, "/expectations")
}

// ServeHTTP serves a request and tells who observes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Observe == nil {
		s.serve(w, r)
		return
	}
	begun, seen := time.Now(), &observed{ResponseWriter: w, status: http.StatusOK}
	route := s.serve(seen, r)
	s.Observe(route, seen.status, time.Since(begun))
}

// observed remembers the status of an answer.
type observed struct {
	http.ResponseWriter
	status int
}

func (o *observed) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// serve lets only so many requests be worked on at once. It returns the route.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) (route string) {
	room, weight := s.work, int64(1)
	switch {
	case isStream(r):
		room = s.streams
	case r.ContentLength < 0 || r.ContentLength > maxBody:
		weight = min(longWork, s.limits.Work)
	}
	waiting, stop := context.WithTimeout(r.Context(), s.limits.Wait)
	err := room.Acquire(waiting, weight)
	stop()
	if err != nil {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Connection", "close")
		writeFailure(w, &client.Error{Code: client.ErrBusy, Message: "too many requests are at work; try again"})
		return ""
	}
	defer room.Release(weight)
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.Body))
	}
	if room == s.streams {
		ctx, stop := context.WithCancel(r.Context())
		defer stop()
		defer context.AfterFunc(s.ending, stop)()
		r = r.WithContext(ctx)
	}
	s.handler.ServeHTTP(w, r)
	return r.Pattern // which http.ServeMux has found
}
