package datapath

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// answers lets the guest ask TFTP servers.
const answers = `<filter name="answers">
  <rule action="accept" direction="out"><udp dstportstart="69"/></rule>
  <rule action="accept" direction="in"><udp state="RELATED,ESTABLISHED"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`

// skeletons finds the directories of skeletons on the bpffs.
func (l *live) skeletons() []string {
	l.t.Helper()
	found, err := filepath.Glob(filepath.Join(l.host.dir, skeletonPrefix+"*"))
	if err != nil {
		l.t.Fatal(err)
	}
	return found
}

func TestAllPortsHaveTheSameSkeleton(t *testing.T) {
	l := newLive(t, Automatic)
	l.guard(l.Guest.Port, resolve(t, answers))
	l.guard(l.Neighbour.Port, resolve(t, answers))
	found := l.skeletons()
	if len(found) != 1 {
		t.Fatalf("skeletons in %q, want one directory", found)
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(found[0], automataMap), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Put(uint32(0), make([]byte, m.ValueSize())); err == nil {
		t.Error("the automata can be changed")
	}
	skeletons, err := ebpf.LoadPinnedMap(filepath.Join(found[0], skeletonsMap), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer skeletons.Close()
	info, err := skeletons.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	for _, port := range []string{l.Guest.Port, l.Neighbour.Port} {
		if !slices.Contains(l.mapsOf(port), id) {
			t.Errorf("%s has a skeleton of its own", port)
		}
	}
	l.release(l.Guest.Port)
	if len(l.skeletons()) != 1 {
		t.Error("the other port's skeleton is gone")
	}
	l.release(l.Neighbour.Port)
	if left := l.skeletons(); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
}

// mapsOf are the maps that the program for what the guest sends uses.
func (l *live) mapsOf(port string) []ebpf.MapID {
	l.t.Helper()
	generations, err := l.host.generations.of(l.host.portDir(port))
	if err != nil || len(generations) == 0 {
		l.t.Fatalf("%d generations, %v", len(generations), err)
	}
	p, err := ebpf.NewProgramFromID(generations[len(generations)-1].programs[0])
	if err != nil {
		l.t.Fatal(err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		l.t.Fatal(err)
	}
	ids, _ := info.MapIDs()
	return ids
}

func TestWhatHelpersKnowGoesWithThePort(t *testing.T) {
	l := newLive(t, Automatic)
	l.guard(l.Neighbour.Port, resolve(t, acceptAll)) // keeps the maps
	l.guard(l.Guest.Port, resolve(t, answers))
	l.arrives(l.Guest, l.Neighbour, l.udp(69, "\x00\x01file"), true)
	l.arrives(l.Neighbour, l.Guest, l.reply(4711, "data"), true)
	tables := filepath.Join(l.host.dir, l.binding(l.Guest.Port).State)
	maps, err := openMaps(tables, append([]string{"ports"}, helperMaps...))
	if err != nil {
		t.Fatal(err)
	}
	defer closeMaps(maps)
	var key, value []byte
	count := func(name string) (n int) {
		for all := maps[name].Iterate(); all.Next(&key, &value); {
			n++
		}
		return n
	}
	for _, name := range helperMaps {
		if n := count(name); n != 1 {
			t.Fatalf("%d entries in %s, want 1", n, name)
		}
	}
	// Connections of no port are swept, and who announced them.
	if err := maps["ports"].Delete(l.binding(l.Guest.Port).Number); err != nil {
		t.Fatal(err)
	}
	l.swept(tables)
	if count("related") != 0 {
		t.Error("a connection is gone, and its master is still known")
	}
	l.release(l.Guest.Port)
	for _, name := range helperMaps {
		if n := count(name); n != 0 {
			t.Errorf("%d entries are left in %s", n, name)
		}
	}
}
