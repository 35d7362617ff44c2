package systemd

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Listener gives the unix socket that systemd listens at for the daemon; nil if
// there is none. The socket's file is systemd's: closing the listener leaves it.
// The environment's variables are taken out, so that it is given once and no
// child believes to have it.
func Listener() (*net.UnixListener, error) {
	files := activation.Files(true)
	defer func() {
		for _, f := range files {
			f.Close() // net.FileListener has its own
		}
	}()
	switch len(files) {
	case 0:
		return nil, nil
	case 1:
	default:
		var names []string
		for _, f := range files {
			names = append(names, f.Name())
		}
		return nil, fmt.Errorf("systemd gives %d sockets (%s): expected one ListenStream= in one .socket unit", len(files), strings.Join(names, ", "))
	}
	l, err := unixListener(files[0])
	if err != nil {
		return nil, fmt.Errorf("take the socket %s from systemd: %w", files[0].Name(), err)
	}
	return l, nil
}

func unixListener(f *os.File) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%w; expected a unix socket with ListenStream=", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("it listens at %s: expected a unix socket with ListenStream=/PATH", l.Addr())
	}
	return u, nil
}
