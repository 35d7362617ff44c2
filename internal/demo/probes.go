package demo

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// probe is how something is tried.
type probe struct {
	// try returns what is worth telling of a success.
	try func(context.Context) (note string, err error)
	// least is the number of equal packets that it sends; 0 means 1.
	least uint64
	// patience bounds the wait for what should be blocked; 0 means silence.
	patience time.Duration
}

const (
	// silence is how long an answer that must not come is waited for. One that
	// comes takes less than a millisecond, and what is blocked must have been
	// counted as dropped, too.
	silence = 100 * time.Millisecond
	// sessionSilence is for a session whose beginning should work.
	sessionSilence = 500 * time.Millisecond
	// copies of a frame are sent, more than a kernel would send of its own accord
	// at the same moment.
	copies = 3
	// transfers by FTP in a row.
	transfers = 100
)

// run tries it, with little patience for what should be blocked.
func (p probe) run(ctx context.Context, should Outcome) (note string, err error) {
	if should == Blocked {
		patience := p.patience
		if patience == 0 {
			patience = silence
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	return p.try(ctx)
}

// quiet is a probe of which there is nothing to tell.
func quiet(try func(context.Context) error) probe {
	return probe{try: func(ctx context.Context) (string, error) { return "", try(ctx) }}
}

// probes makes the probes. Connections come from the neighbour, queries and
// frames from the guest.
type probes struct {
	*lab.Lab
	// id is the last identifier that was given to a query.
	id int
}

func (p *probes) ssh() probe {
	return quiet(func(ctx context.Context) error {
		_, err := lab.SSH(ctx, p.Neighbour.Namespace, p.Guest.At(lab.SSHPort))
		return err
	})
}

func (p *probes) http(server netip.AddrPort) probe {
	return quiet(func(ctx context.Context) error { return lab.HTTP(ctx, p.Neighbour.Namespace, server) })
}

func (p *probes) tcp(server netip.AddrPort) probe {
	return quiet(func(ctx context.Context) error { return lab.ConnectTCP(ctx, p.Neighbour.Namespace, server) })
}

func (p *probes) ping(from *lab.Guest, to netip.Addr) probe {
	return quiet(func(ctx context.Context) error { return lab.Ping(ctx, from.Namespace, to) })
}

func (p *probes) dns(network string) probe {
	return quiet(func(ctx context.Context) error {
		return lab.DNS(ctx, p.Guest.Namespace, network, p.Neighbour.At(lab.DNSPort))
	})
}

func (p *probes) echo() probe {
	return quiet(func(ctx context.Context) error {
		return lab.Echo(ctx, p.Guest.Namespace, p.Neighbour.At(lab.EchoPort))
	})
}

// ftp transfers a file. In passive mode it is the second connection that
// filters stop.
func (p *probes) ftp(mode lab.FTPMode) probe {
	probe := quiet(func(ctx context.Context) error {
		return lab.FTP(ctx, p.Neighbour.Namespace, p.Guest.At(lab.FTPPort), mode)
	})
	if mode == lab.PassivePASV {
		probe.patience = sessionSilence
	}
	return probe
}

// manyFTP fails if a data connection's first packet was lost even once.
func (p *probes) manyFTP() probe {
	return probe{try: func(ctx context.Context) (string, error) {
		before, err := p.resent()
		if err != nil {
			return "", err
		}
		started := time.Now()
		if err := p.transfer(ctx); err != nil {
			return "", err
		}
		took := since(started)
		after, err := p.resent()
		if err != nil {
			return "", err
		}
		if after != before {
			return "", fmt.Errorf("%d SYN packets had to be sent again", after-before)
		}
		return fmt.Sprintf("%d transfers in %s, no SYN sent again", transfers, seconds(took)), nil
	}}
}

// transfer makes active transfers in one session, by PORT and EPRT in turn.
func (p *probes) transfer(ctx context.Context) error {
	session, err := lab.DialFTP(ctx, p.Neighbour.Namespace, p.Guest.At(lab.FTPPort))
	if err != nil {
		return err
	}
	defer session.Close()
	modes := []lab.FTPMode{lab.ActivePORT, lab.ActiveEPRT}
	for i := range transfers {
		if err := session.Retrieve(ctx, modes[i%len(modes)]); err != nil {
			return fmt.Errorf("transfer %d: %w", i+1, err)
		}
	}
	return nil
}

// resent counts SYN packets that were sent again by either side.
func (p *probes) resent() (uint64, error) {
	var sum uint64
	for _, side := range []*lab.Guest{p.Guest, p.Neighbour} {
		n, err := side.SYNRetransmissions()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// frame sends a frame from the guest n times and looks whether one reaches the
// neighbour. See craft for the text; NEW is a number that was not used yet, so
// that no connection of an earlier step goes on.
func (p *probes) frame(n uint64, text string) probe {
	probe := quiet(func(ctx context.Context) error {
		p.id++
		frame := craft(p.Lab, strings.ReplaceAll(text, "NEW", strconv.Itoa(p.id)))
		sender, err := p.Guest.OpenFrames(lab.GuestDevice)
		if err != nil {
			return err
		}
		defer sender.Close()
		return lab.Arrived(ctx, p.Neighbour, frame, func() error {
			for range n {
				if err := sender.Send(frame); err != nil {
					return err
				}
			}
			return nil
		})
	})
	probe.least = n
	return probe
}

// poison claims the guest's own IP address for another MAC address, and lets
// the neighbour forget the lie.
func (p *probes) poison() probe {
	probe := p.frame(copies, "arp request GUEST/OTHERMAC > NEIGHBOUR")
	lie := probe.try
	probe.try = func(ctx context.Context) (string, error) {
		note, err := lie(ctx)
		if flushed := p.Neighbour.FlushNeighbours(); flushed != nil {
			return note, flushed
		}
		return note, err
	}
	return probe
}

// craft makes a frame from the guest to the neighbour of a text in the
// notation of packet.FromText, with names for addresses. OTHER are addresses
// that nobody has.
func craft(l *lab.Lab, text string) []byte {
	text = strings.NewReplacer(
		"NEIGHBOURMAC", l.Neighbour.MAC.String(), "NEIGHBOUR", l.Neighbour.IPv4.String(),
		"OTHERMAC", "52:54:00:00:00:66", "OTHER", "10.77.0.66",
		"GUEST", l.Guest.IPv4.String(),
	).Replace(text)
	frame, err := packet.FromText(text, packet.Ends{Src: l.Guest.MAC, Dst: l.Neighbour.MAC})
	if err != nil {
		panic(fmt.Sprintf("demo: %s: %v", text, err))
	}
	return frame
}
