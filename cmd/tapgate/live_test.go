package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
)

// liveNetwork is what a script runs on.
type liveNetwork struct {
	*lab.Lab
	ctx context.Context
}

// networkKey is where a script finds its network.
type networkKey struct{}

// TestLiveScripts runs commands on ports of a network of their own, with a
// bpffs and a state directory of their own:
//
//	live tapgate …          runs tapgate where the ports are: guest0, neighbour0
//	arrives in|out PACKET   sends a packet to or from the guest
//	rmport PORT             removes a device
func TestLiveScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip(lab.ErrNeedsRoot)
	}
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/live",
		Setup: setUpLive,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"live": live, "arrives": arrives, "rmport": removePort,
		},
	})
}

func setUpLive(env *testscript.Env) error {
	if err := ownState(env); err != nil {
		return err
	}
	bpffs := env.Getenv("TAPGATE_BPFFS")
	if err := os.Mkdir(bpffs, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		return err
	}
	env.Defer(func() {
		if err := unix.Unmount(bpffs, unix.MNT_DETACH); err != nil {
			env.T().Log(err)
			env.T().FailNow()
		}
	})
	ctx := env.T().(testing.TB).Context()
	l, err := lab.New(ctx)
	if err != nil {
		return err
	}
	env.Defer(l.Close)
	env.Values[networkKey{}] = liveNetwork{l, ctx}
	return nil
}

func network(ts *testscript.TestScript) liveNetwork {
	return ts.Value(networkKey{}).(liveNetwork)
}

// live runs a program in the host's namespace: a thread that is there forks.
func live(ts *testscript.TestScript, neg bool, args []string) {
	var ended error
	err := network(ts).Host.Do(func() error {
		ended = ts.Exec(args[0], args[1:]...)
		return nil
	})
	ts.Check(err)
	if (ended != nil) != neg {
		ts.Fatalf("%v ends with %v", args, ended)
	}
}

func arrives(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: arrives in|out PACKET")
	}
	l := network(ts)
	from, to := l.Neighbour, l.Guest
	if args[0] == "out" {
		from, to = to, from
	}
	frame, err := packet.FromText(args[1], packet.Ends{Src: from.MAC, Dst: to.MAC})
	ts.Check(err)
	err = lab.Arrives(l.ctx, from, to, frame)
	if err != nil && !lab.NoAnswer(err) {
		ts.Fatalf("send %s: %v", args[1], err)
	}
	if arrived := err == nil; arrived == neg {
		ts.Fatalf("%s: arrived is %t", args[1], arrived)
	}
}

func removePort(ts *testscript.TestScript, _ bool, args []string) {
	links := network(ts).Host.Links()
	link, err := links.LinkByName(args[0])
	ts.Check(err)
	ts.Check(links.LinkDel(link))
}
