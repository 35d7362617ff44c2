package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/crypto/ssh"
)

// ServeSSH starts an SSH server that lets everybody in and offers nothing.
func (l *Lab) ServeSSH(guest *Guest) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	return l.serveTCP(guest, SSHPort, func(_ context.Context, conn net.Conn) {
		session, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		l.servers.Go(func() { ssh.DiscardRequests(requests) })
		for channel := range channels {
			_ = channel.Reject(ssh.Prohibited, "nothing is offered here")
		}
		_ = session.Wait()
	})
}

// SSH logs in from the namespace and returns the server's version banner.
func SSH(ctx context.Context, from *Namespace, server netip.AddrPort) (banner string, err error) {
	conn, closeConn, err := from.probe(ctx, "tcp", server)
	if err != nil {
		return "", fmt.Errorf("ssh: %w", err)
	}
	defer closeConn()
	config := &ssh.ClientConfig{
		User: "anybody",
		// The lab's key is made anew each time, and there is nobody in between.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	}
	session, channels, requests, err := ssh.NewClientConn(conn, server.String(), config)
	if err != nil {
		return "", fmt.Errorf("ssh to %s: %w", server, err)
	}
	client := ssh.NewClient(session, channels, requests)
	defer client.Close()
	return string(session.ServerVersion()), nil
}
