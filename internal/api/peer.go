package api

import (
	"context"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"tapgate/internal/store"
)

// withPeer lets requests of a connection be those of the process that connected, as
// the kernel knows it (SO_PEERCRED, unix(7)). Who that is is looked up once, when it
// first changes something.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	credentials, err := peerOf(conn)
	if err != nil {
		return ctx // such a connection changes nothing
	}
	return WithActor(ctx, sync.OnceValue(func() store.Actor {
		return store.Process(int(credentials.Pid), credentials.Uid)
	}))
}

func peerOf(conn net.Conn) (credentials *unix.Ucred, err error) {
	if bounded, ok := conn.(*boundedConn); ok {
		conn = bounded.Conn
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T is no unix socket", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		credentials, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = controlErr
	}
	return credentials, err
}
