package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tapgate/internal/agent"
)

func get(t *testing.T, h http.Handler, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestWhatIsServed(t *testing.T) {
	f := example()
	healthy := true
	m, _ := newTest(t, f, func(o *Options) { o.Healthy = func() bool { return healthy } })
	cases := []struct {
		path     string
		change   func()
		code     int
		contains string
	}{
		{"/", nil, 200, "/metrics"},
		{"/metrics", nil, 200, "tapgate_build_info{goversion="},
		{"/metrics", nil, 200, "\ngo_goroutines "},
		{"/metrics", nil, 200, "\nprocess_start_time_seconds "},
		{"/healthz", nil, 200, "healthy"},
		{"/readyz", nil, 200, "ready"},
		{"/healthz", func() { healthy = false }, 503, "does not answer"},
		{"/readyz", func() { f.daemon = &agent.DaemonStatus{} }, 503, "not every known port"},
		{"/readyz", func() { f.daemon = nil }, 503, "not every known port"},
		{"/debug/pprof/", nil, 404, ""},
		{"/metrics/more", nil, 404, ""},
	}
	for _, c := range cases {
		if c.change != nil {
			c.change()
		}
		if code, body := get(t, m.Handler(), c.path); code != c.code || !strings.Contains(body, c.contains) {
			t.Errorf("GET %s: %d, %q; want %d with %q", c.path, code, body, c.code, c.contains)
		}
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

func TestServe(t *testing.T) {
	m, _ := newTest(t, example())
	path := filepath.Join(t.TempDir(), "metrics.sock")
	// What a daemon that died leaves behind is no hindrance.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	for _, address := range []string{"127.0.0.1:0", path} {
		l, err := Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if address == path {
			if second, err := Listen(t.Context(), path); err == nil {
				second.Close()
				t.Error("a socket that somebody listens at was taken")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- m.Serve(ctx, l) }()
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
			},
		}}
		response, err := client.Get("http://tapgate/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !strings.Contains(string(body), `tapgate_packets_total{direction="in",fate="passed",port="vnet0"} 1000`) {
			t.Errorf("%s: %v\n%s", address, err, body)
		}
		cancel()
		if err := <-result; err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestServeTellsWhyItEnds(t *testing.T) {
	m, _ := newTest(t, example())
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := m.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want that the listener is closed", err)
	}
}

func TestListenTellsWhereItCannot(t *testing.T) {
	for _, address := range []string{"nonsense", "/no/such/directory/socket"} {
		if _, err := Listen(t.Context(), address); err == nil || !strings.Contains(err.Error(), "listen for scrapes at "+address) {
			t.Errorf("%s: %v", address, err)
		}
	}
	l, err := Listen(t.Context(), "192.0.2.1:0")
	if err != nil {
		t.Errorf("an address that no interface has yet: %v", err)
	} else {
		l.Close()
	}
}

func TestAScrapeEndsThoughTheAgentHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, hang := example(), make(chan struct{})
		f.before = func() { <-hang }
		m, _ := newTest(t, f)
		h := m.Handler()
		begin := time.Now()
		if code, body := get(t, h, "/metrics"); code != http.StatusServiceUnavailable {
			t.Errorf("%d, %q; want %d", code, body, http.StatusServiceUnavailable)
		}
		if took := time.Since(begin); took > 9*time.Second {
			t.Errorf("it took %s, longer than Prometheus waits", took)
		}
		close(hang)
		synctest.Wait()
		if code, _ := get(t, h, "/metrics"); code != http.StatusOK {
			t.Errorf("%d after the agent goes on, want %d", code, http.StatusOK)
		}
	})
}
