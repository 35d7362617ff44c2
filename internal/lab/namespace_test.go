package lab

import (
	"errors"
	"net"
	"runtime"
	"testing"
)

func TestDoRunsInTheNamespaceAndComesBack(t *testing.T) {
	l := newLab(t)
	outside := devices(t)
	var inside []string
	if err := l.Guest.Do(func() error { inside = devices(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(inside) != 2 || inside[1] != GuestDevice {
		t.Errorf("devices inside: %v", inside)
	}
	if after := devices(t); len(after) != len(outside) {
		t.Errorf("devices outside: %v, before %v", after, outside)
	}
}

func TestDoInsideDoReachesBothNamespaces(t *testing.T) {
	l := newLab(t)
	var guest, host, again []string
	err := l.Guest.Do(func() error {
		guest = devices(t)
		err := l.Host.Do(func() error { host = devices(t); return nil })
		again = devices(t)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(guest) != 2 || len(host) != 4 || len(again) != 2 {
		t.Errorf("devices of the guest %v, the host %v, the guest again %v", guest, host, again)
	}
}

func TestDoReturnsWhateverHappensInside(t *testing.T) {
	l := newLab(t)
	want := errors.New("mine")
	if err := l.Guest.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err := l.Guest.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("leaving half-way is no error")
	}
	l.Close()
	if err := l.Guest.Do(func() error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("after Close: got %v, want %v", err, errClosed)
	}
}

func TestSocketsOpenedInsideWorkOutside(t *testing.T) {
	l := newLab(t)
	listener, err := l.Guest.Listen(l.Guest.At(0))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.Close()
		}
		accepted <- err
	}()
	at := listener.Addr().(*net.TCPAddr).AddrPort()
	if err := ConnectTCP(t.Context(), l.Neighbour.Namespace, at); err != nil {
		t.Error(err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

// devices are the names of the devices in the namespace of the calling thread.
func devices(t *testing.T) []string {
	// net.Interfaces asks in the calling thread.
	all, err := net.Interfaces()
	if err != nil {
		t.Error(err)
	}
	var names []string
	for _, device := range all {
		names = append(names, device.Name)
	}
	return names
}
