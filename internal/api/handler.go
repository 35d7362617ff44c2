// Package api is how an agent is asked from outside: HTTP and JSON over a unix
// socket, or over no socket at all from a command that is alone. Package client is
// the other end; client/openapi.yaml describes what passes between them.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"

	"tapgate/client"
	"tapgate/internal/agent"
	"tapgate/internal/store"
)

// route is a request that is understood.
type route struct {
	// pattern is that of http.ServeMux.
	pattern string
	// answer works the answer out: a value that is sent as JSON, a stream, a
	// document, or nil for nothing.
	answer func(*call) (any, error)
}

// routes are all that can be asked.
var routes = []route{
	{"GET /v1/status", (*call).status},
	{"GET /v1/openapi.yaml", (*call).openAPI},
	{"GET /v1/filters", (*call).filters},
	{"POST /v1/filters", (*call).define},
	{"GET /v1/filters/{filter}", (*call).filter},
	{"DELETE /v1/filters/{filter}", (*call).undefine},
	{"GET /v1/filters/{filter}/revisions", (*call).revisions},
	{"POST /v1/filters/{filter}/rollback", (*call).rollback},
	{"GET /v1/bindings", (*call).bindings},
	{"PUT /v1/bindings/{port}", (*call).bind},
	{"DELETE /v1/bindings/{port}", (*call).unbind},
	{"POST /v1/bindings/{port}/enforce", (*call).bindAgain},
	{"GET /v1/ports", (*call).ports},
	{"GET /v1/ports/{port}/stats", (*call).stats},
	{"GET /v1/ports/{port}/connections", (*call).connections},
	{"DELETE /v1/ports/{port}/connections", (*call).flush},
	{"GET /v1/ports/{port}/expectations", (*call).expectations},
	{"GET /v1/ports/{port}/settings", (*call).settings},
	{"PATCH /v1/ports/{port}/settings", (*call).set},
	{"GET /v1/leases", (*call).leases},
	{"GET /v1/ports/{port}/leases", (*call).leases},
	{"POST /v1/ports/{port}/leases", (*call).addLease},
	{"PATCH /v1/ports/{port}/leases/{address}", (*call).pinLease},
	{"DELETE /v1/ports/{port}/leases/{address}", (*call).deleteLease},
	{"POST /v1/sets/refresh", (*call).refreshSets},
	{"GET /v1/settings", (*call).settings},
	{"PATCH /v1/settings", (*call).set},
	{"GET /v1/watch", (*call).watch},
	{"GET /v1/history", (*call).history},
}

// call is a request at work.
type call struct {
	service agent.Service
	w       http.ResponseWriter
	r       *http.Request
}

// handler answers requests.
type handler struct {
	service agent.Service
	log     *slog.Logger
	mux     *http.ServeMux
}

// Handler answers requests with what a service says. Who asks is in the request's
// context (WithActor). A request that makes the program fail is told to the log; if
// that is nil, the program ends.
func Handler(service agent.Service, log *slog.Logger) http.Handler {
	h := &handler{service, log, http.NewServeMux()}
	for _, one := range routes {
		h.mux.HandleFunc(one.pattern, func(w http.ResponseWriter, r *http.Request) {
			h.serve(&call{service, w, r}, one.answer)
		})
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if h.log == nil {
			return
		}
		fault := recover()
		if fault == nil {
			return
		}
		h.log.Error("a request made the program fail", "request", r.Method+" "+r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
		writeFailure(w, &client.Error{Code: client.ErrInternal, Message: "the program failed; its log says more"})
	}()
	if _, pattern := h.mux.Handler(r); pattern == "" || path.Clean(r.URL.EscapedPath()) != r.URL.EscapedPath() {
		h.refuse(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// refuse says why a request is none.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request) {
	shown := fmt.Sprintf("%.200q", r.URL.Path)
	probe := probe{http.Header{}, 0}
	h.mux.ServeHTTP(&probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allowed := probe.header.Get("Allow")
		w.Header().Set("Allow", allowed)
		writeFailure(w, &client.Error{Code: client.ErrMethod, Message: fmt.Sprintf("%.20s is no method of %s: expected %s", r.Method, shown, strings.ReplaceAll(allowed, ", ", " or "))})
		return
	}
	writeFailure(w, &client.Error{Code: client.ErrUnknownPath, Message: fmt.Sprintf("there is nothing at %s; /v1/openapi.yaml describes what there is", shown)})
}

// probe finds out what http.ServeMux says of a request that has no route.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header            { return p.header }
func (p *probe) Write(text []byte) (int, error) { return len(text), nil }
func (p *probe) WriteHeader(status int)         { p.status = status }

// serve answers a request that has a route.
func (h *handler) serve(c *call, answer func(*call) (any, error)) {
	value, err := answer(c)
	if err != nil {
		writeFailure(c.w, failureOf(err))
		return
	}
	switch value := value.(type) {
	case nil:
		c.w.WriteHeader(http.StatusNoContent)
	case document:
		c.w.Header().Set("Content-Type", value.kind)
		_, _ = c.w.Write(value.text)
	case *stream:
		value.write(c.w)
	default:
		writeJSON(c.w, http.StatusOK, value)
	}
}

// document is an answer that is no JSON.
type document struct {
	kind string
	text []byte
}

type actorKey struct{}

// WithActor lets requests with the context be those of somebody.
func WithActor(ctx context.Context, by func() store.Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, by)
}

// by is who asks.
func (c *call) by() (store.Actor, error) {
	by, ok := c.r.Context().Value(actorKey{}).(func() store.Actor)
	if !ok {
		return store.Actor{}, fmt.Errorf("it is not known who asks, and changes are written down with who made them")
	}
	return by(), nil
}

func (c *call) status() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	return c.service.Status(c.r.Context()), nil
}

func (c *call) openAPI() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	return document{"application/yaml", client.OpenAPI()}, nil
}

// historyEntry says in words what was changed.
type historyEntry struct {
	store.Entry
	// Kind is "filter", "port", "settings" or "leases".
	Kind string `json:"kind"`
}

func (c *call) history() (any, error) {
	if err := c.takes(); err != nil {
		return nil, err
	}
	entries, faults, err := c.service.History(c.r.Context())
	list := make([]historyEntry, len(entries))
	for i, e := range entries {
		list[i] = historyEntry{e, e.Kind.Thing()}
	}
	return struct {
		Entries []historyEntry `json:"entries"`
		Faults  []string       `json:"faults,omitempty"`
	}{list, sentences(faults)}, err
}

// sentences are the texts of errors.
func sentences(faults []error) []string {
	var texts []string
	for _, fault := range faults {
		texts = append(texts, fault.Error())
	}
	return texts
}

// listed is never null in JSON.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
