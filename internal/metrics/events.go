package metrics

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tapgate/internal/agent"
)

// Events are what a daemon reports of its own work. All methods may be called
// by several at once, and on nil, which forgets everything.
type Events struct {
	changes       *prometheus.CounterVec
	changeSeconds prometheus.Histogram
	looks         *prometheus.CounterVec
	lookSeconds   prometheus.Histogram
	lastLook      prometheus.Gauge
	requests      *prometheus.CounterVec
	requestTime   *prometheus.HistogramVec

	mu     sync.Mutex
	routes []string
}

// maxRoutes bounds the label route, should a caller give paths in their place.
const maxRoutes = 64

// lookBuckets reach further than a request may: a look binds what changed, tens
// of milliseconds a port.
var lookBuckets = []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

// NewEvents makes the counters; Options take them.
func NewEvents() *Events {
	e := &Events{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tapgate_port_changes_total",
			Help: "Changes of a port's policy, by what became of them.",
		}, []string{"result"}),
		changeSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tapgate_port_change_duration_seconds", Buckets: prometheus.DefBuckets,
			Help: "How long it took to compile, verify and swap a port's policy.",
		}),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tapgate_reconciles_total",
			Help: "Full looks at all ports, which repair what differs, by result.",
		}, []string{"result"}),
		lookSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tapgate_reconcile_duration_seconds", Buckets: lookBuckets,
			Help: "How long a full look at all ports took.",
		}),
		lastLook: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tapgate_last_reconcile_timestamp_seconds",
			Help: "When the last full look at all ports succeeded; 0 if none has yet.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tapgate_api_requests_total",
			Help: "Requests to the API, by route and status code.",
		}, []string{"route", "code"}),
		requestTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tapgate_api_request_duration_seconds", Buckets: prometheus.DefBuckets,
			Help: "How long requests to the API took, by route.",
		}, []string{"route"}),
	}
	// What has not happened yet is 0, so that the first time shows as an increase.
	for _, r := range results {
		e.changes.WithLabelValues(string(r))
	}
	for _, r := range []string{"ok", "failed"} {
		e.looks.WithLabelValues(r)
	}
	return e
}

// PortChanged tells what became of a change of one port, and how long it took.
// Plans are no changes.
func (e *Events) PortChanged(result agent.PortResult, took time.Duration) {
	if e == nil || result == agent.PortPlanned {
		return
	}
	if !slices.Contains(results, result) {
		result = other
	}
	e.changes.WithLabelValues(string(result)).Inc()
	if result == agent.PortUpdated {
		e.changeSeconds.Observe(took.Seconds())
	}
}

// Reconciled tells that all ports were looked at, at a time: err if not all
// could be.
func (e *Events) Reconciled(at time.Time, took time.Duration, err error) {
	if e == nil {
		return
	}
	e.lookSeconds.Observe(took.Seconds())
	if err != nil {
		e.looks.WithLabelValues("failed").Inc()
		return
	}
	e.looks.WithLabelValues("ok").Inc()
	e.lastLook.Set(float64(at.UnixMilli()) / 1e3)
}

// APIRequest tells of a request that was answered. The route is a pattern such
// as "GET /v1/ports/{name}", never a path.
func (e *Events) APIRequest(route string, code int, took time.Duration) {
	if e == nil {
		return
	}
	route = e.bounded(route)
	status := other
	if code >= 100 && code <= 599 {
		status = strconv.Itoa(code)
	}
	e.requests.WithLabelValues(route, status).Inc()
	e.requestTime.WithLabelValues(route).Observe(took.Seconds())
}

// bounded is the route, or other if there are too many.
func (e *Events) bounded(route string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case slices.Contains(e.routes, route):
	case route == "" || len(e.routes) >= maxRoutes:
		return other
	default:
		e.routes = append(e.routes, route)
	}
	return route
}

func (e *Events) parts() []prometheus.Collector {
	return []prometheus.Collector{e.changes, e.changeSeconds, e.looks, e.lookSeconds, e.lastLook, e.requests, e.requestTime}
}

// Describe is part of prometheus.Collector.
func (e *Events) Describe(ch chan<- *prometheus.Desc) {
	for _, p := range e.parts() {
		p.Describe(ch)
	}
}

// Collect is part of prometheus.Collector.
func (e *Events) Collect(ch chan<- prometheus.Metric) {
	for _, p := range e.parts() {
		p.Collect(ch)
	}
}
