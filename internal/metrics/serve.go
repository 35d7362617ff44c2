package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

const (
	maxConnections = 32
	// maxInFlight scrapes wait for one look; more are told to come back.
	maxInFlight  = 4
	shutdownTime = 3 * time.Second
)

const index = `Tapgate's metrics are at /metrics, in Prometheus' format.
/healthz answers 200 while the daemon works, /readyz once every known port is guarded.
`

// Handler serves /metrics, /healthz, /readyz, and / that names them.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(m.options.Log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.HTTPErrorOnError,
		Registry:            m.registry,
		MaxRequestsInFlight: maxInFlight,
		Timeout:             m.options.Timeout + time.Second,
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, index)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, m.options.Healthy == nil || m.options.Healthy(), "healthy", "the daemon's loop does not answer")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, isReady(m.options.Source.Status(r.Context())), "ready", "not every known port is guarded yet")
	})
	return mux
}

func answer(w http.ResponseWriter, good bool, yes, no string) {
	if !good {
		http.Error(w, no, http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, yes)
}

// Listen listens at HOST:PORT or, if the address is a path, at a unix socket,
// which whoever may enter its directory may read. An address that no interface
// has yet is taken all the same: at boot, the firewall comes before the network.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if strings.HasPrefix(address, "/") {
		return listenUnix(ctx, address)
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) }); e != nil {
			return e
		}
		return err
	}}
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for scrapes at %s: %w", address, err)
	}
	return l, nil
}

// listenUnix takes the place of a socket that nobody answers at.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("listen for scrapes at %s: somebody else does", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen for scrapes at %s: %w", path, err)
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for scrapes at %s: %w", path, err)
	}
	return l, nil
}

// Serve answers until the context ends, and closes the listener.
func (m *Metrics) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           m.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      m.options.Timeout + 20*time.Second,
		IdleTimeout:       2 * time.Minute, // longer than scrapes are apart
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(m.options.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if server.Shutdown(limited) != nil {
			server.Close()
		}
	})
	err := server.Serve(netutil.LimitListener(l, maxConnections))
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("answer scrapes: %w", err)
}
