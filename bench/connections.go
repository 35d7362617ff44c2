package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tapgate/examples"
	"tapgate/internal/datapath"
	"tapgate/internal/lab"
)

// crowdPorts share the connections of a crowd.
const crowdPorts = 100

// crowd are many connections over many ports: datagrams from guests, each from
// another L4 port. Time is that of the sending thread on its CPU, on which
// frames also make their way through the bridge, so that other work on the
// machine counts less.
type crowd struct {
	network *lab.Lab
	host    *datapath.Host
	dir     string
	guests  []*lab.Guest
	each    int // connections of a port
}

// measureCrowd fills the table, and shows what its connections cost and that
// they go.
func measureCrowd(ctx context.Context, out io.Writer, options datapath.Options, connections int, duration time.Duration) error {
	if connections < crowdPorts || connections > crowdPorts*60000 {
		return fmt.Errorf("-connections must be from %d to %d", crowdPorts, crowdPorts*60000)
	}
	network, err := lab.New(ctx)
	if err != nil {
		return err
	}
	defer network.Close()
	host, dir, unmount, err := openOwn(options)
	if err != nil {
		return err
	}
	defer unmount()
	c := &crowd{network: network, host: host, dir: dir, each: connections / crowdPorts}
	if err := c.addPorts(ctx); err != nil {
		return err
	}
	show := func(what, format string, values ...any) {
		fmt.Fprintf(out, "%-42s "+format+"\n", append([]any{what}, values...)...)
	}
	empty, err := c.memory()
	if err != nil {
		return err
	}
	show("memory of the empty table", "%.1f MB", empty)

	// One port's connections alone, then all ports'.
	if _, err := c.sendAll(ctx, c.guests[:1]); err != nil {
		return err
	}
	alone, err := c.rate(ctx, duration)
	if err != nil {
		return err
	}
	show("established, table empty but for one port", "%.0f packets/s", alone)
	first, err := c.sendAll(ctx, c.guests[1:])
	if err != nil {
		return err
	}
	again, err := c.sendAll(ctx, c.guests[1:])
	if err != nil {
		return err
	}
	n, err := c.count(ctx)
	if err != nil {
		return err
	}
	full, err := c.memory()
	if err != nil {
		return err
	}
	fresh := float64(c.each * (crowdPorts - 1))
	show("connections", "%d over %d ports", n, crowdPorts)
	show("opened in", "%.1f s, %.0f a second", first.Seconds(), fresh/first.Seconds())
	show("a new connection costs", "%.2f µs more than a packet of a known one", float64((first-again).Nanoseconds())/fresh/1000)
	show("memory", "%.1f MB, %.0f bytes a connection", full, (full-empty)*1e6/float64(n))
	crowded, err := c.rate(ctx, duration)
	if err != nil {
		return err
	}
	show("established, table full", "%.0f packets/s, %.0f%% of before", crowded, 100*crowded/alone)

	// An unanswered datagram's connection lives 30 s.
	begin := time.Now()
	for n > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if n, err = c.count(ctx); err != nil {
			return err
		}
	}
	after, err := c.memory()
	if err != nil {
		return err
	}
	show("all expired and removed after", "%.1f s, memory %.1f MB", time.Since(begin).Seconds(), after)
	if _, err := c.sendAll(ctx, c.guests[:1]); err != nil {
		return err
	}
	if alone, err = c.rate(ctx, duration); err != nil {
		return err
	}
	show("established, table empty again", "%.0f packets/s", alone)
	return nil
}

func (c *crowd) addPorts(ctx context.Context) error {
	for i := range crowdPorts {
		guest, err := c.network.AddGuest(ctx, lab.GuestConfig{
			Name: fmt.Sprintf("crowd%d", i),
			MAC:  net.HardwareAddr{0x52, 0x54, 0, 1, 0, byte(i)},
			IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(100 + i)}), 24),
		})
		if err != nil {
			return err
		}
		c.guests = append(c.guests, guest)
		err = c.network.Host.Do(func() error {
			p, err := resolve("ftp-states.xml", examples.FTPStates, guest)
			if err != nil {
				return err
			}
			_, err = c.host.Guard(ctx, guest.Port, p, datapath.Meta{BoundAt: time.Now()})
			return err
		})
		if err != nil {
			return err
		}
	}
	// So that the bridge knows where the neighbour is.
	return lab.Ping(ctx, c.guests[0].Namespace, c.network.Neighbour.IPv4)
}

// question is the first of a guest's datagrams; numbered makes the others.
func (c *crowd) question(guest *lab.Guest) []byte {
	nowhere := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, 1}), port)
	frame := lab.UDPFrame(guest.MAC, c.network.Neighbour.MAC, guest.At(0), nowhere, make([]byte, payload))
	binary.BigEndian.PutUint16(frame[40:], 0) // no checksum
	return frame
}

func numbered(frame []byte, i int) []byte {
	binary.BigEndian.PutUint16(frame[34:], uint16(1024+i))
	return frame
}

// sendAll sends one packet of every connection.
func (c *crowd) sendAll(ctx context.Context, guests []*lab.Guest) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin, err := cpuTime()
	if err != nil {
		return 0, err
	}
	for _, guest := range guests {
		nic, err := guest.OpenFrames(lab.GuestDevice)
		if err != nil {
			return 0, err
		}
		frame := c.question(guest)
		for i := range c.each {
			if err = nic.Send(numbered(frame, i)); err != nil {
				break
			}
		}
		nic.Close()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
	}
	end, err := cpuTime()
	return end - begin, err
}

// cpuTime is the time that the thread has run.
func cpuTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read the thread's time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// rate sends packets of the first port's connections in turn.
func (c *crowd) rate(ctx context.Context, duration time.Duration) (float64, error) {
	sent := 0
	var took time.Duration
	for took < duration {
		t, err := c.sendAll(ctx, c.guests[:1])
		if err != nil {
			return 0, err
		}
		sent += c.each
		took += t
	}
	return float64(sent) / took.Seconds(), nil
}

// count gives the connections of all ports.
func (c *crowd) count(ctx context.Context) (n int, err error) {
	err = c.network.Host.Do(func() error {
		stats, err := c.host.Stats(ctx, c.guests[0].Port)
		if err == nil {
			n = int(stats.Table.Used)
		}
		return err
	})
	return n, err
}

// memory gives the megabytes of the tables that hold connections, as the kernel
// counts them.
func (c *crowd) memory() (float64, error) {
	var sum uint64
	for _, name := range []string{"connections", "queue"} {
		paths, err := filepath.Glob(filepath.Join(c.dir, "state_*", name))
		if err != nil || len(paths) != 1 {
			return 0, fmt.Errorf("find the table %s: %d found", name, len(paths))
		}
		table, err := ebpf.LoadPinnedMap(paths[0], &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return 0, err
		}
		size, err := mapMemory(table)
		table.Close()
		if err != nil {
			return 0, err
		}
		sum += size
	}
	return float64(sum) / 1e6, nil
}

// mapMemory counts a map and the maps in it.
func mapMemory(m *ebpf.Map) (uint64, error) {
	info, err := m.Info()
	if err != nil {
		return 0, err
	}
	sum, _ := info.Memlock()
	if m.Type() != ebpf.ArrayOfMaps {
		return sum, nil
	}
	for i := range m.MaxEntries() {
		var inner *ebpf.Map
		if err := m.Lookup(i, &inner); err != nil {
			return 0, err
		}
		size, err := mapMemory(inner)
		inner.Close()
		if err != nil {
			return 0, err
		}
		sum += size
	}
	return sum, nil
}
