package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// holderVariable makes this test's binary a process that opens a gate, admits the device with the
// index that it holds, says so and waits for its end.
const holderVariable = "TAPGATE_TEST_HOLDER"

func TestMain(m *testing.M) {
	if admitted := os.Getenv(holderVariable); admitted != "" {
		if err := holdGate(admitted); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func holdGate(admitted string) error {
	index, err := strconv.Atoi(admitted)
	if err != nil {
		return err
	}
	g, err := Open(Options{Patterns: []string{"vnet*"}})
	if err != nil {
		return err
	}
	if err := g.Admit(index); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startHolder starts that process in the namespace and returns when it holds the gate.
func (h *host) startHolder(admitted int) *exec.Cmd {
	h.t.Helper()
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), holderVariable+"="+strconv.Itoa(admitted))
	if _, err := holder.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.ns.Do(holder.Start); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = holder.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		h.t.Fatalf("the holder says %q, %v", line, err)
	}
	return holder
}

func TestOwnerThatIsKilled(t *testing.T) {
	h := newHost(t)
	_ = h.open(Options{Patterns: []string{"vnet*"}}).Close(true) // skips where there is no gate
	a, b := h.plug("vnet0", 0), h.plug("vnet1", 0)
	holder := h.startHolder(a.index)

	var held *HeldError
	if _, err := openIn(h.ns, Options{Patterns: []string{"tap*"}}); !errors.As(err, &held) || held.Port != uint32(holder.Process.Pid) {
		t.Errorf("open beside the owner, which is %d: %v", holder.Process.Pid, err)
	}
	if err := h.ns.Do(Remove); !errors.As(err, &held) {
		t.Errorf("remove beside the owner: %v", err)
	}

	if err := holder.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	c := h.plug("vnet2", 0) // nobody is there to see it
	h.wantOpen(a)
	h.guest.send(t, b.peer, fromGuest, 1)
	h.inside.send(t, b.index, toGuest, 1)
	h.guest.send(t, c.peer, fromGuest, 1)
	h.inside.send(t, c.index, toGuest, 1)

	g := h.open(Options{Patterns: []string{"vnet*"}})
	if got := shutouts(t, g); got.Ingress.Packets != 2 || got.Egress.Packets != 2 {
		t.Errorf("without an owner the gate has dropped %+v, want 2 packets each way", got)
	}
	if got, err := g.Admitted(); err != nil || !slices.Equal(got, []int{a.index}) {
		t.Errorf("admitted: %v, %v", got, err)
	}
	h.wantOpen(a)
	h.wantShut(g, b)
	h.wantShut(g, c)
}

func TestRemoveOfAnOrphan(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	c := h.plug("vnet0", 0)
	h.wantShut(g, c)
	if err := g.Close(false); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is none
		if err := h.ns.Do(Remove); err != nil {
			t.Fatal(err)
		}
		h.wantOpen(c)
	}
}

func TestOtherToolsLeaveTheGateAlone(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	c := h.plug("vnet0", 0)
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyNetdev}
	connect := func() *nftables.Conn {
		conn, err := nftables.New(nftables.WithNetNSFd(h.ns.FD()))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}

	conn := connect()
	conn.DelTable(table)
	if err := conn.Flush(); !errors.Is(err, unix.EPERM) {
		t.Errorf("deletion of the table: %v", err)
	}
	conn = connect()
	set := &nftables.Set{Table: table, Name: setName, KeyType: nftables.TypeIFIndex}
	if err := conn.SetAddElements(set, []nftables.SetElement{{Key: []byte{byte(c.index), 0, 0, 0}}}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); !errors.Is(err, unix.EPERM) {
		t.Errorf("a device more: %v", err)
	}
	conn = connect()
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		t.Errorf("flush of the ruleset: %v", err)
	}
	h.wantShut(g, c)

	// The table of another is gone, of course.
	conn = connect()
	conn.AddTable(&nftables.Table{Name: "other", Family: nftables.TableFamilyNetdev})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("nft"); err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := h.ns.Do(func() error {
			out, err := exec.CommandContext(ctx, "nft", "flush", "ruleset").CombinedOutput()
			t.Logf("nft flush ruleset: %q, %v", out, err)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	h.wantShut(g, c)
}

// What is nobody's is nobody's to protect; an owner makes it anew when it sets what is admitted.
func TestGateThatIsGone(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	a, b := h.plug("vnet0", 0), h.plug("vnet1", 0)
	if err := g.socket.commit(removal()); err != nil { // only the owner can
		t.Fatal(err)
	}
	h.wantOpen(b)
	if err := g.Admit(a.index); !errors.Is(err, unix.ENOENT) {
		t.Errorf("admit through a gate that is gone: %v", err)
	}
	if err := g.SetAdmitted([]int{a.index}); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(a)
	h.wantShut(g, b)
}
