// Package client asks a Tapgate daemon over its unix socket: what it filters, what
// ports do, and to change it. It is what the command tapgate itself uses.
//
//	c := client.New(client.DefaultSocket)
//	ports, err := c.Ports(ctx)
//
// Every method takes a context, which ends the call, and fails with *Error, whose
// message is a sentence for people and whose code is for programs:
//
//	if errors.Is(err, client.ErrNotFound) { … }
//
// openapi.yaml in this directory describes the same for other languages.
package client

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// DefaultSocket is where the daemon listens unless told otherwise.
const DefaultSocket = "/run/tapgate/tapgate.sock"

// Client asks one daemon. It is safe for concurrent use.
type Client struct {
	http *http.Client
	// socket is empty if the requests go elsewhere.
	socket string
}

// New asks the daemon that listens at a socket. Nothing is connected before the
// first call.
func New(socket string) *Client {
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		MaxIdleConns:       8, MaxIdleConnsPerHost: 8,
		// Shorter than the daemon waits, so that it closes no connection that is
		// about to be used.
		IdleConnTimeout: 5 * time.Second,
	}}}
}

// NewWithTransport asks whoever answers a transport's requests.
func NewWithTransport(transport http.RoundTripper) *Client {
	return &Client{http: &http.Client{Transport: transport}}
}

// IsLocal tells whether the client asks a transport and no daemon.
func (c *Client) IsLocal() bool { return c.socket == "" }

// Close closes connections that are not in use. The client can be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ping tells whether somebody listens: nil, ErrNotRunning, ErrNoPermission or
// another failure. It asks nothing.
func (c *Client) Ping(ctx context.Context) error {
	if c.IsLocal() {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return c.failure(ctx, err)
	}
	return conn.Close()
}

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI is the description of the API that this package was made for.
func OpenAPI() []byte { return bytes.Clone(openAPI) }

// request is one call.
type request struct {
	method string
	// path are its segments below /v1.
	path  []string
	query url.Values
	// body is sent as JSON, nil for none.
	body any
}

// get, and so on, name what is called.
func get(path ...string) request    { return request{method: http.MethodGet, path: path} }
func post(path ...string) request   { return request{method: http.MethodPost, path: path} }
func put(path ...string) request    { return request{method: http.MethodPut, path: path} }
func patch(path ...string) request  { return request{method: http.MethodPatch, path: path} }
func remove(path ...string) request { return request{method: http.MethodDelete, path: path} }

// with adds a parameter unless its value is empty.
func (r request) with(name string, values ...string) request {
	if r.query == nil {
		r.query = url.Values{}
	}
	for _, v := range values {
		if v != "" {
			r.query.Add(name, v)
		}
	}
	return r
}

// having adds a parameter if it is set.
func (r request) having(name string, set bool) request {
	if !set {
		return r
	}
	return r.with(name, "true")
}

func (r request) sending(body any) request {
	r.body = body
	return r
}

// url has each segment escaped, so that no name is mistaken for a path.
func (r *request) url() (*url.URL, error) {
	u := &url.URL{Scheme: "http", Host: "tapgate", Path: "/v1", RawPath: "/v1", RawQuery: r.query.Encode()}
	for _, segment := range r.path {
		if segment == "" {
			return nil, &Error{Code: ErrInvalid, Message: "a name is empty"}
		}
		u.Path += "/" + segment
		u.RawPath += "/" + strings.ReplaceAll(url.PathEscape(segment), ".", "%2E")
	}
	return u, nil
}

// send returns the answer to a call that did not fail. The caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	u, err := r.url()
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if r.body != nil {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(r.body); err != nil {
			return nil, &Error{Code: ErrInvalid, Message: fmt.Sprintf("the request cannot be written as JSON: %v", err)}
		}
		body = &b
	}
	request, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, &Error{Code: ErrInvalid, Message: err.Error()}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		return nil, readError(response)
	}
	return response, nil
}

// call reads the answer to a call into a value, unless that is nil.
func (c *Client) call(ctx context.Context, r request, into any) error {
	response, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return c.failure(ctx, err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &Error{Code: ErrInternal, Status: response.StatusCode, Message: fmt.Sprintf("the daemon's answer cannot be understood: %v", err)}
	}
	return nil
}

// ask is call with a new value.
func ask[T any](ctx context.Context, c *Client, r request) (*T, error) {
	into := new(T)
	if err := c.call(ctx, r, into); err != nil {
		return nil, err
	}
	return into, nil
}

// failure makes a sentence of what went wrong on the way.
func (c *Client) failure(ctx context.Context, err error) error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return &Error{Code: ErrInterrupted, Message: "the call was interrupted", cause: context.Cause(ctx)}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Code: ErrNotRunning, Message: fmt.Sprintf("no daemon listens at %s", c.socket), cause: err}
	case errors.Is(err, fs.ErrPermission):
		return &Error{Code: ErrNoPermission, Message: fmt.Sprintf("permission denied at %s: only root and the members of the socket's group, tapgate, may ask the daemon", c.socket), cause: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Code: ErrInternal, Message: "the daemon ended before it had answered; \"tapgate history\" tells what was changed", cause: err}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &Error{Code: ErrInternal, Message: fmt.Sprintf("the daemon at %s cannot be asked: %s", c.socket, errno.Error()), cause: err}
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return &Error{Code: ErrInternal, Message: fmt.Sprintf("the daemon at %s cannot be asked: %v", c.socket, err), cause: err}
}
