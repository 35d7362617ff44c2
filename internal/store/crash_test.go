package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapgate/internal/learn"
	"tapgate/nwfilter/binding"
)

// changeEnv makes the test's program change a store until it is killed.
const changeEnv = "TAPGATE_TEST_CHANGE_IN"

// changeForEver prints a line for each change that has returned.
func changeForEver(s *Store) {
	for n := 0; ; n++ {
		name := fmt.Sprintf("f%d", rand.IntN(3))
		port := fmt.Sprintf("vnet%d", rand.IntN(3))
		var op Operation
		what := name
		err := s.Update(context.Background(), func(u *Update) error {
			_, missing := u.Filter(name)
			text := doc(name, fmt.Sprintf("<!-- %d %s -->", n, strings.Repeat("x", rand.IntN(10_000))))
			f, _ := ParseFilter([]byte(text), "", false)
			switch choice := rand.IntN(8); {
			case choice == 0 && missing == nil:
				op = UndefineOp
				return u.Undefine(name, true, nil)
			case choice == 1:
				op, what = BindOp, port
				b := &binding.Binding{Port: port, MAC: []byte{2, 0, 0, 0, 0, byte(n)}, Filter: name}
				_, err := u.Bind(b, f, func() error { return nil })
				return err
			case choice == 2:
				if _, err := u.Binding(port); err == nil {
					op, what = UnbindOp, port
					return u.Unbind(port, nil)
				}
			case choice == 3:
				if f, _, err := u.Revision(name, ""); err == nil {
					op = RollbackOp
					_, err = u.Rollback(f, nil)
					return err
				}
			case choice == 4:
				op, what = AddLeaseOp, port
				l := lease("10.0.0.5", learn.DHCP, time.Hour)
				l.Renewed = time.Now().UTC() // none says the same as another
				return u.ChangeLeases(LeaseEdit{op, port, l.Address}, "key "+port, []learn.Lease{l}, func() error { return nil })
			case choice == 5:
				op, what = "learn", port // which is not in the journal
				return u.KeepLeases("learned "+port, []learn.Lease{lease("10.0.0.5", learn.DHCP, time.Hour)})
			}
			op = DefineOp
			_, err := u.Define(f, nil)
			return err
		})
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(op, what)
	}
}

// TestKilledAtAnyMoment kills a process that changes things, again and again.
// What it said to have done is done, what is there is whole, and the journal
// says what became of everything.
func TestKilledAtAnyMoment(t *testing.T) {
	kills, least := 100, 1
	if testing.Short() {
		kills, least = 20, 0 // about one in eight interrupts a change
	}
	k := newStore(t)
	seen, acknowledged, interrupted, torn := 0, 0, 0, 0
	// How long a change takes here and now.
	const while = 300 * time.Millisecond
	pace := while / time.Duration(len(k.killed(while)))
	seen = len(k.check(0))
	for range kills {
		said := k.killed(rand.N(4 * pace))
		acknowledged += len(said)
		torn += k.leftovers()
		entries := k.check(seen)
		var done []string
		for _, e := range entries {
			if e.Result == Done {
				done = append(done, fmt.Sprintf("%s %s", e.Operation, e.Name))
			} else {
				interrupted++
			}
			if strings.Contains(e.Detail, "interrupted") {
				interrupted++
			}
		}
		// A binding defines its filter, too, which was not said.
		for _, line := range said {
			if strings.HasPrefix(line, "learn ") {
				continue
			}
			at := slices.Index(done, line)
			if at < 0 {
				t.Fatalf("%q was said to be done; the journal has only %q", line, done)
			}
			done = done[at+1:]
		}
		k.expect(k.update(func(u *Update) error { return u.Repair() }), "")
		seen += len(entries)
		k.check(seen)
	}
	t.Logf("%d changes were acknowledged, %d interrupted, %d files left half-way", acknowledged, interrupted, torn)
	if acknowledged < kills || interrupted < least {
		t.Error("too little was interrupted to show anything")
	}
}

// killed runs the process until some time after its first change, and returns
// what it said.
func (k kept) killed(after time.Duration) (said []string) {
	k.Helper()
	c := exec.CommandContext(k.Context(), os.Args[0])
	c.Env = append(os.Environ(), changeEnv+"="+k.dir)
	out, err := c.StdoutPipe()
	if err != nil {
		k.Fatal(err)
	}
	if err := c.Start(); err != nil {
		k.Fatal(err)
	}
	in := bufio.NewReader(out)
	first, err := in.ReadString('\n')
	if err != nil {
		k.Fatal(err)
	}
	time.AfterFunc(after, func() { _ = c.Process.Kill() })
	rest, err := io.ReadAll(in)
	if err != nil {
		k.Fatal(err)
	}
	_ = c.Wait() // says that it was killed
	text := first + string(rest)
	if strings.Contains(text, "error: ") {
		k.Fatal(text)
	}
	lines := strings.Split(text, "\n")
	return lines[:len(lines)-1]
}

// leftovers counts the files that were not renamed into place.
func (k kept) leftovers() int {
	found, err := filepath.Glob(filepath.Join(k.dir, "*", tempPrefix+"*"))
	k.expect(err, "")
	return len(found)
}

// check compares the journal with what is there, and returns its entries from a
// number on.
func (k kept) check(from int) (entries []Entry) {
	k.Helper()
	k.expect(k.View(k.Context(), func(v *View) error {
		_, filterFaults, err := v.Filters()
		k.expect(err, "")
		_, bindingFaults, err := v.Bindings()
		k.expect(err, "")
		all, journalFaults, err := v.History()
		k.expect(err, "")
		if faults := slices.Concat(filterFaults, bindingFaults, journalFaults); len(faults) > 0 {
			k.Errorf("faults: %v", faults)
		}
		want := map[string]string{}
		for i, e := range all {
			place := string(e.Kind) + "/" + e.document() + e.Kind.ending()
			if e.ID != int64(i+1) || want[place] != e.Before.Digest {
				k.Errorf("entry %d is %+v, and %s had the digest %s", i+1, e, place, want[place])
			}
			if e.Result == Done {
				want[place] = e.After.Digest
			}
		}
		keys, err := v.LeaseKeys()
		k.expect(err, "")
		for _, key := range keys {
			_, err := v.Leases(key)
			k.expect(err, "")
		}
		maps.DeleteFunc(want, func(_, digest string) bool { return digest == "" })
		got := map[string]string{}
		for place, text := range k.documents() {
			if !strings.HasPrefix(place, "leases/learned ") {
				got[place] = digest([]byte(text))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			k.Errorf("what is there is not what the journal says: %s", diff)
		}
		entries = all[from:]
		return err
	}), "")
	return entries
}
