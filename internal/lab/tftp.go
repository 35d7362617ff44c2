package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// TFTPPort is where TFTP servers wait for requests.
const TFTPPort = 69

// TFTP's operations (RFC 1350 section 5) and the size of a full block.
const (
	tftpRead  = 1
	tftpData  = 3
	tftpACK   = 4
	tftpBlock = 512
)

// tftpContent is what every lab TFTP server has under any name: two full blocks and a rest.
var tftpContent = bytes.Repeat([]byte("trivial "), 2*tftpBlock/8+1)

// ServeTFTP starts a server for read requests (RFC 1350). It answers from a port of its own for
// each transfer and never sends anything twice, so that a packet that is lost is missed.
func (l *Lab) ServeTFTP(guest *Guest) error {
	for _, at := range guest.addresses(TFTPPort) {
		requests, err := guest.ListenUDP(at)
		if err != nil {
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		answer := func() {
			request := make([]byte, tftpBlock)
			for {
				n, client, err := requests.ReadFromUDPAddrPort(request)
				if err != nil {
					return
				}
				if n < 2 || binary.BigEndian.Uint16(request) != tftpRead {
					continue
				}
				transfer, err := guest.Dial(l.ctx, "udp", netip.AddrPortFrom(client.Addr().Unmap(), client.Port()))
				if err != nil {
					return
				}
				if l.serve(func() { sendTFTP(transfer) }, func() { closeAll(transfer) }) != nil {
					return
				}
			}
		}
		if err := l.serve(answer, func() { closeAll(requests) }); err != nil {
			return err
		}
	}
	return nil
}

func sendTFTP(conn net.Conn) {
	ack := make([]byte, 5)
	rest := tftpContent
	for block := uint16(1); ; block++ {
		part := rest[:min(len(rest), tftpBlock)]
		rest = rest[len(part):]
		if _, err := conn.Write(append(tftpHeader(tftpData, block), part...)); err != nil {
			return
		}
		n, err := conn.Read(ack)
		if err != nil || !bytes.Equal(ack[:n], tftpHeader(tftpACK, block)) || len(part) < tftpBlock {
			return
		}
	}
}

func tftpHeader(operation, block uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, operation), block)
}

// TFTP reads the server's file from the namespace and checks it. It asks once.
func TFTP(ctx context.Context, from *Namespace, server netip.AddrPort) error {
	if err := readTFTP(ctx, from, server); err != nil {
		return fmt.Errorf("tftp: read from %s: %w", server, err)
	}
	return nil
}

func readTFTP(ctx context.Context, from *Namespace, server netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	conn, err := from.ListenUDP(netip.AddrPortFrom(unspecified(server.Addr()), 0))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer bindToContext(ctx, conn.SetDeadline)()

	request := append([]byte{0, tftpRead}, "file\x00octet\x00"...)
	if _, err := conn.WriteToUDPAddrPort(request, server); err != nil {
		return err
	}
	var content []byte
	packet := make([]byte, 4+tftpBlock)
	for block := uint16(1); ; block++ {
		n, sender, err := conn.ReadFromUDPAddrPort(packet)
		if err != nil {
			return err
		}
		data, ok := bytes.CutPrefix(packet[:n], tftpHeader(tftpData, block))
		if !ok {
			return fmt.Errorf("%w: % x", errUnexpected, packet[:min(n, 4)])
		}
		content = append(content, data...)
		if _, err := conn.WriteToUDPAddrPort(tftpHeader(tftpACK, block), sender); err != nil {
			return err
		}
		if len(data) < tftpBlock {
			break
		}
	}
	if !bytes.Equal(content, tftpContent) {
		return fmt.Errorf("%w: %d bytes", errUnexpected, len(content))
	}
	return nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
